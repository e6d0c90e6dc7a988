package gitrepo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/flytower/flytower/core"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

// Defaults are what the configuration says of commits.
type Defaults struct {
	// Author is scaffolder.defaultAuthor.
	Author Person
	// Message is scaffolder.defaultCommitMessage.
	Message string
	// Key is scaffolder.defaultCommitSigningKey; nil if there is none.
	Key *SigningKey
}

// ReadDefaults reads the configuration of the backend.
func ReadDefaults(c core.Config) (d Defaults, err error) {
	for key, to := range map[string]*string{
		"scaffolder.defaultAuthor.name":   &d.Author.Name,
		"scaffolder.defaultAuthor.email":  &d.Author.Email,
		"scaffolder.defaultCommitMessage": &d.Message,
	} {
		if *to, err = c.StringOr(key, ""); err != nil {
			return d, err
		}
	}
	const key = "scaffolder.defaultCommitSigningKey"
	if !c.Has(key) {
		return d, nil
	}
	armored, err := c.String(key)
	if err != nil {
		return d, err
	}
	if d.Key, err = ParseSigningKey(core.NewToken(armored)); err != nil {
		return d, &core.ConfigError{Key: c.Path(key), Position: c.Position(key), Problem: err.Error()}
	}
	return d, nil
}

// Publisher pushes workspaces as first commits of repositories.
type Publisher struct {
	Client   *Client
	Defaults Defaults
	// Now replaces the clock in tests.
	Now func() time.Time
}

// Publication is what is published where.
type Publication struct {
	Remote Remote
	// Branch is [DefaultBranch] if empty.
	Branch string
	// Key tells the publications of a step apart, which may run for each of a
	// list: the name of the repository. It is part of the names of checkpoints.
	Key string
	// SourcePath is the folder in the workspace, as the action's input has it;
	// empty is all.
	SourcePath string
	// Message and Author are the action's inputs. What is empty is that of the
	// defaults.
	Message string
	Author  Person
	// Sign signs with the key of the defaults, which has to be there.
	Sign bool
	// Fallback, if set, takes over where the git server refuses or breaks all
	// connections. It gets the commit, which may have arrived all the same, and
	// returns the hash of the one that it made in its place.
	Fallback func(ctx context.Context, made Commit) (hash string, err error)
}

// ErrNoSigningKey is that a commit has to be signed and the configuration has
// no key.
var ErrNoSigningKey = errors.New("Signing commits is enabled but no signing key is provided in the configuration") //nolint:staticcheck // the text that users know

// Publish pushes a folder of the workspace as one commit without parents, and
// returns its hash. When it runs again in the same step it finds what the
// earlier run did; see the package comment.
func (p *Publisher) Publish(ctx context.Context, c *scaffoldernode.ActionContext, what Publication) (commit string, err error) {
	folder, err := SourceFolder(what.SourcePath)
	if err != nil {
		return "", err
	}
	if what.Sign && p.Defaults.Key == nil {
		return "", ErrNoSigningKey
	}
	branch := cmp.Or(what.Branch, DefaultBranch)
	dir, err := c.TempDir(ctx)
	if err != nil {
		return "", fmt.Errorf("make a folder for the commit: %w", err)
	}
	repo, err := New(dir)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, repo.Close()) }()
	name := what.Key + "." + branch
	return scaffoldernode.Checkpoint(ctx, c, "git.push."+name, func(ctx context.Context) (string, error) {
		tree, err := repo.AddFolder(ctx, c.Workspace, folder)
		if err != nil {
			return "", err
		}
		// the time, and signatures that are random, are decided on once
		made, err := scaffoldernode.Checkpoint(ctx, c, "git.commit."+name+"."+tree.String(), func(context.Context) (Commit, error) {
			return p.commit(repo, tree, what)
		})
		if err != nil {
			return "", err
		}
		if err := repo.Restore(made); err != nil {
			return "", err
		}
		err = p.Client.Push(ctx, repo, what.Remote, branch, plumbing.NewHash(made.Hash))
		if what.Fallback != nil && err != nil && ctx.Err() == nil && unreachable(err) {
			c.Logger.Warn("The git server cannot be reached; trying another way", "error", err)
			return what.Fallback(ctx, made)
		}
		return made.Hash, err
	})
}

// unreachable reports whether connections are refused or broken off.
func unreachable(err error) bool {
	for _, broken := range []error{syscall.ECONNREFUSED, syscall.ECONNRESET, io.EOF, io.ErrUnexpectedEOF} {
		if errors.Is(err, broken) {
			return true
		}
	}
	return false
}

func (p *Publisher) commit(repo *Repo, tree Hash, what Publication) (Commit, error) {
	now := time.Now
	if p.Now != nil {
		now = p.Now
	}
	o := CommitOptions{
		Tree: tree, When: now(), Message: cmp.Or(what.Message, p.Defaults.Message),
		Author: Person{cmp.Or(what.Author.Name, p.Defaults.Author.Name), cmp.Or(what.Author.Email, p.Defaults.Author.Email)},
	}
	if what.Sign {
		o.Key = p.Defaults.Key
	}
	return repo.Commit(o)
}
