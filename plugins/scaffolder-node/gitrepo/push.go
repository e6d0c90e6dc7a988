package gitrepo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
)

// DivergedError is that a branch of the server has another commit than those
// that the pushed one is made upon.
type DivergedError struct {
	Branch string
	Commit Hash
}

// Error names the branch.
func (e *DivergedError) Error() string {
	return fmt.Sprintf("the branch %s is there already and has other commits, the last is %s", e.Branch, e.Commit)
}

// RejectedError is that a server did not take a push.
type RejectedError struct {
	Branch, Reason string
	// Messages is what the server said beside it.
	Messages string
}

// Error says why.
func (e *RejectedError) Error() string {
	text := fmt.Sprintf("the server rejected the branch %s: %s", e.Branch, e.Reason)
	if e.Messages != "" {
		text += "\n" + e.Messages
	}
	return text
}

// Push makes a commit the head of a branch of the server. The branch has to be
// new, or its head a parent of the commit; a [DivergedError] otherwise. That
// it is the head already is success: a push whose answer was lost may be sent
// again. Passing failures are retried.
func (c *Client) Push(ctx context.Context, r *Repo, remote Remote, branch string, commit Hash) error {
	err := c.patiently(ctx, func() error { return c.push(ctx, r, remote, branch, commit) })
	if err != nil {
		return fmt.Errorf("push to %s: %w", remote.URL, err)
	}
	return nil
}

func (c *Client) push(ctx context.Context, r *Repo, remote Remote, branch string, commit Hash) error {
	refs, err := c.refs(ctx, remote, receivePack)
	if err != nil {
		return err
	}
	ref := plumbing.NewBranchReferenceName(branch)
	if err := ref.Validate(); err != nil {
		return &finalError{fmt.Errorf("%q cannot be the name of a branch: %w", branch, err)}
	}
	has, exists := refs.References[ref.String()]
	if exists && has == commit {
		return nil
	}
	made, err := object.GetCommit(r.store, commit)
	if err != nil {
		return &finalError{fmt.Errorf("read the commit %s: %w", commit, err)}
	}
	if exists && !slices.Contains(made.ParentHashes, has) {
		return &finalError{&DivergedError{branch, has}}
	}
	objects, err := r.news(made)
	if err != nil {
		return &finalError{err}
	}
	request := packp.NewReferenceUpdateRequest()
	request.Commands = []*packp.Command{{Name: ref, Old: has, New: commit}}
	for _, wanted := range []capability.Capability{capability.ReportStatus, capability.Sideband64k} {
		if refs.Capabilities.Supports(wanted) {
			if err := request.Capabilities.Set(wanted); err != nil {
				return &finalError{err}
			}
		}
	}
	pack, size, err := r.pack(request, objects)
	if err != nil {
		return &finalError{err}
	}
	answer, err := c.send(ctx, remote, http.MethodPost, "/"+receivePack, map[string]string{
		"Content-Type": "application/x-" + receivePack + "-request",
		"Accept":       "application/x-" + receivePack + "-result",
	}, pack, size)
	if err != nil {
		return err
	}
	err = report(answer.Body, request.Capabilities, branch)
	return errors.Join(err, answer.Body.Close())
}

// news lists the objects of a commit that its parents do not have.
func (r *Repo) news(c *object.Commit) ([]Hash, error) {
	seen := map[Hash]bool{}
	for _, parent := range c.ParentHashes {
		p, err := object.GetCommit(r.store, parent)
		if err != nil {
			return nil, fmt.Errorf("read the commit %s: %w", parent, err)
		}
		if err := r.mark(p.TreeHash, seen, nil); err != nil {
			return nil, err
		}
	}
	objects := []Hash{c.Hash}
	err := r.mark(c.TreeHash, seen, &objects)
	return objects, err
}

// mark marks a tree and what is in it, and adds what was not marked.
func (r *Repo) mark(tree Hash, seen map[Hash]bool, added *[]Hash) error {
	if seen[tree] {
		return nil
	}
	t, err := object.GetTree(r.store, tree)
	if err != nil {
		return fmt.Errorf("read the folder %s: %w", tree, err)
	}
	take := func(h Hash) {
		if !seen[h] && added != nil {
			*added = append(*added, h)
		}
		seen[h] = true
	}
	take(tree)
	for _, e := range t.Entries {
		switch e.Mode {
		case filemode.Dir:
			if err := r.mark(e.Hash, seen, added); err != nil {
				return err
			}
		case filemode.Submodule: // a commit of another repository
		default:
			take(e.Hash)
		}
	}
	return nil
}

// pack writes the request with its objects to a file that ends with its
// reader: not every server takes a body of unknown length.
func (r *Repo) pack(request *packp.ReferenceUpdateRequest, objects []Hash) (body io.ReadCloser, size int64, err error) {
	file, err := os.CreateTemp(r.dir, "push-*")
	if err != nil {
		return nil, 0, err
	}
	body = &tempFile{file}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("pack the commit: %w", err), body.Close())
		}
	}()
	if err := request.Encode(file); err != nil {
		return nil, 0, err
	}
	if _, err := packfile.NewEncoder(file, r.store, false).Encode(objects, 0); err != nil {
		return nil, 0, err
	}
	if size, err = file.Seek(0, io.SeekCurrent); err != nil {
		return nil, 0, err
	}
	_, err = file.Seek(0, io.SeekStart)
	return body, size, err
}

type tempFile struct{ *os.File }

func (f *tempFile) Close() error {
	err := f.File.Close()
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return errors.Join(err, os.Remove(f.Name()))
}

// maxReport bounds what is read of the answer to a push, maxMessages what of
// the server's messages gets into an error.
const (
	maxReport   = 1 << 20
	maxMessages = 4 << 10
)

// report reads what became of a push.
func report(body io.Reader, capabilities *capability.List, branch string) error {
	if !capabilities.Supports(capability.ReportStatus) {
		return nil // the status of the answer is all there is
	}
	body = io.LimitReader(body, maxReport)
	var messages bytes.Buffer
	if capabilities.Supports(capability.Sideband64k) {
		demuxer := sideband.NewDemuxer(sideband.Sideband64k, body)
		demuxer.Progress = &messages
		body = demuxer
	}
	status := packp.NewReportStatus()
	if err := status.Decode(body); err != nil {
		return fmt.Errorf("read the answer of the server: %w", err)
	}
	said := strings.TrimSpace(messages.String())
	said = said[:min(len(said), maxMessages)]
	if status.UnpackStatus != "ok" {
		return &finalError{&RejectedError{branch, "it could not unpack the commit, " + status.UnpackStatus, said}}
	}
	for _, s := range status.CommandStatuses {
		if s.Status != "ok" {
			return &finalError{&RejectedError{branch, s.Status, said}}
		}
	}
	return nil
}
