package gitrepo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
)

// ErrNoBranch is that a server does not have the branch to fetch.
var ErrNoBranch = errors.New("there is no such branch")

// Fetch reads the last commit of a branch of a server, without what was before
// it, and returns it. An empty branch is that of the server's HEAD.
func (c *Client) Fetch(ctx context.Context, r *Repo, remote Remote, branch string) (commit Hash, err error) {
	err = c.patiently(ctx, func() error {
		commit, err = c.fetch(ctx, r, remote, branch)
		return err
	})
	if err != nil {
		return Hash{}, fmt.Errorf("fetch the branch %q of %s: %w", branch, remote.URL, err)
	}
	return commit, nil
}

func (c *Client) fetch(ctx context.Context, r *Repo, remote Remote, branch string) (Hash, error) {
	refs, err := c.refs(ctx, remote, uploadPack)
	if err != nil {
		return Hash{}, err
	}
	commit, ok := refs.References[plumbing.NewBranchReferenceName(branch).String()]
	if branch == "" && refs.Head != nil {
		commit, ok = *refs.Head, true
	}
	if !ok {
		return Hash{}, &finalError{ErrNoBranch}
	}
	request := packp.NewUploadPackRequest()
	request.Wants = []Hash{commit}
	request.Depth = packp.DepthCommits(1)
	var body bytes.Buffer
	err = errors.Join(
		request.Capabilities.Set(capability.Shallow),
		request.Capabilities.Set(capability.OFSDelta),
		request.UploadRequest.Encode(&body),
		pktline.NewEncoder(&body).Encodef("done\n"),
	)
	if err != nil {
		return Hash{}, &finalError{fmt.Errorf("write the request: %w", err)}
	}
	answer, err := c.send(ctx, remote, http.MethodPost, "/"+uploadPack, map[string]string{
		"Content-Type": "application/x-" + uploadPack + "-request",
		"Accept":       "application/x-" + uploadPack + "-result",
	}, &body, int64(body.Len()))
	if err != nil {
		return Hash{}, err
	}
	limited := &limitedBody{answer.Body, c.o.MaxFetch}
	pack := packp.NewUploadPackResponse(request)
	if err := pack.Decode(limited); err != nil {
		return Hash{}, errors.Join(fmt.Errorf("read the answer of the server: %w", err), answer.Body.Close())
	}
	err = packfile.UpdateObjectStorage(r.store, pack)
	if err := errors.Join(err, pack.Close()); err != nil {
		return Hash{}, fmt.Errorf("read the objects of the server: %w", err)
	}
	return commit, r.store.SetShallow([]Hash{commit})
}

// limitedBody fails where there is more than a limit.
type limitedBody struct {
	io.ReadCloser
	left int64
}

func (l *limitedBody) Read(p []byte) (int, error) {
	n, err := l.ReadCloser.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, &finalError{errors.New("the repository is larger than is allowed")}
	}
	return n, err
}
