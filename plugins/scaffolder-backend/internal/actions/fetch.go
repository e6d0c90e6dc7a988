package actions

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/integration"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

// fetcher reads files and trees for templates. Relative URLs are relative to
// the template.
type fetcher struct{ Parts }

// local returns the folder of the template and the path in it, if the template
// was read from a file and the URL is relative.
func local(c *scaffoldernode.ActionContext, target string) (dir, name string, ok bool, err error) {
	if isURL(target) || !strings.HasPrefix(c.Template.BaseURL, "file://") {
		return "", "", false, nil
	}
	base := strings.TrimPrefix(c.Template.BaseURL, "file://")
	if plain, err := url.PathUnescape(base); err == nil {
		base = plain
	}
	name = filepath.Clean(target)
	if !filepath.IsLocal(name) {
		return "", "", true, apierr.NotAllowed("Relative path is not allowed to refer to a directory outside its parent")
	}
	return filepath.Dir(base), name, true, nil
}

func isURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme != ""
}

// remote returns the whole URL of what is to be read.
func (f fetcher) remote(c *scaffoldernode.ActionContext, target, token string) (string, error) {
	base := c.Template.BaseURL
	if f.UserTokens && token == "" {
		effective := target
		if !isURL(target) {
			effective = base
		}
		if kind, ok := f.Hosts.Kind(effective); ok && (kind == integration.KindGitHub || kind == integration.KindGitLab) {
			host := ""
			if u, err := url.Parse(effective); err == nil {
				host = u.Host
			}
			return "", apierr.Input("No user credentials provided for host %s, but scaffolder.requireScmUserCredentials is enabled", host)
		}
	}
	if isURL(target) {
		return target, nil
	}
	if base == "" {
		return "", apierr.Input("Failed to fetch, template location could not be determined and the fetch URL is relative, %s", target)
	}
	if _, ok := f.Hosts.Kind(base); !ok {
		return "", apierr.Input("No integration found for location %s", base)
	}
	return f.Hosts.Resolve(target, base)
}

// source returns a tree for reading. done ends that.
func (f fetcher) source(ctx context.Context, c *scaffoldernode.ActionContext, target, token string) (root *os.Root, done func(), err error) {
	if folder, name, ok, err := local(c, target); err != nil {
		return nil, nil, err
	} else if ok {
		whole, err := os.OpenRoot(folder)
		if err != nil {
			return nil, nil, err
		}
		defer whole.Close()
		root, err := whole.OpenRoot(name)
		if err != nil {
			return nil, nil, err
		}
		return root, func() { _ = root.Close() }, nil // it was only read
	}
	address, err := f.remote(c, target, token)
	if err != nil {
		return nil, nil, err
	}
	tree, err := f.Reader.ReadTree(ctx, address, core.TreeOptions{ReadOptions: core.ReadOptions{Token: core.NewToken(token)}})
	if err != nil {
		return nil, nil, err
	}
	temporary, err := c.TempDir(ctx)
	if err == nil {
		err = tree.WriteTo(ctx, temporary.Name())
	}
	if err := errors.Join(err, tree.Close()); err != nil {
		return nil, nil, err
	}
	return temporary, func() {}, nil // it goes with the step
}

// tree reads a tree into a folder of a root.
func (f fetcher) tree(ctx context.Context, c *scaffoldernode.ActionContext, target, token string, into *os.Root, dir string) error {
	source, done, err := f.source(ctx, c, target, token)
	if err != nil {
		return err
	}
	defer done()
	return copyTree(ctx, source, ".", into, dir)
}

// file reads one file.
func (f fetcher) file(ctx context.Context, c *scaffoldernode.ActionContext, target, token string) ([]byte, error) {
	if folder, name, ok, err := local(c, target); err != nil {
		return nil, err
	} else if ok {
		root, err := os.OpenRoot(folder)
		if err != nil {
			return nil, err
		}
		defer root.Close()
		return root.ReadFile(name)
	}
	address, err := f.remote(c, target, token)
	if err != nil {
		return nil, err
	}
	found, err := f.Reader.Read(ctx, address, core.ReadOptions{Token: core.NewToken(token)})
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(found.Content)
	return text, errors.Join(err, found.Content.Close())
}

type plainInput struct {
	URL        string `json:"url" description:"Relative path or absolute URL pointing to the directory tree to fetch"`
	TargetPath string `json:"targetPath,omitempty" description:"Target path within the working directory to download the contents to."`
	Token      string `json:"token,omitempty" description:"An optional token to use for authentication when reading the resources."`
}

func (f fetcher) plain() scaffoldernode.Action {
	return withoutOutput(scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: "fetch:plain", Description: "Copies a tree of files into the workspace, as it is.", SupportsDryRun: true,
		Examples: []scaffoldernode.ActionExample{example("Copy a folder beside the template", "steps:\n  - id: fetch\n    action: fetch:plain\n    input:\n      url: ./skeleton\n      targetPath: app\n")},
	}, func(ctx context.Context, c *scaffoldernode.ActionContext, in plainInput) (nothing, error) {
		c.Logger.Info("Fetching plain content from remote URL")
		target, err := inside(c.Workspace, path.Join(".", in.TargetPath))
		if err != nil {
			return nothing{}, err
		}
		return nothing{}, f.tree(ctx, c, in.URL, in.Token, c.Workspace, target)
	}))
}

type plainFileInput struct {
	URL        string `json:"url" description:"Relative path or absolute URL pointing to the single file to fetch."`
	TargetPath string `json:"targetPath" description:"Target path within the working directory to download the file as."`
	Token      string `json:"token,omitempty" description:"An optional token to use for authentication when reading the resources."`
}

func (f fetcher) plainFile() scaffoldernode.Action {
	return withoutOutput(scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: "fetch:plain:file", Description: "Copies a file into the workspace, as it is.", SupportsDryRun: true,
		Examples: []scaffoldernode.ActionExample{example("Copy a file", "steps:\n  - id: licence\n    action: fetch:plain:file\n    input:\n      url: https://github.com/acme/shop/blob/main/LICENSE\n      targetPath: LICENSE\n")},
	}, func(ctx context.Context, c *scaffoldernode.ActionContext, in plainFileInput) (nothing, error) {
		c.Logger.Info("Fetching plain content from remote URL")
		target, err := inside(c.Workspace, in.TargetPath)
		if err != nil {
			return nothing{}, err
		}
		text, err := f.file(ctx, c, in.URL, in.Token)
		if err != nil {
			return nothing{}, err
		}
		return nothing{}, writeFile(c.Workspace, target, bytes.NewReader(text), 0o644)
	}))
}
