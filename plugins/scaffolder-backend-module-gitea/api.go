package scaffoldermodulegitea

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/flytower/flytower/integration"
	"github.com/flytower/flytower/integration/hostclient"
)

// api is the REST API of a Gitea.
type api struct {
	client *hostclient.Client
	host   integration.Gitea
}

// send sends a request to a path, whose segments are given. Any status is an
// answer.
func (a api) send(ctx context.Context, method string, body any, segments ...string) (*hostclient.Answer, error) {
	at := a.host.BaseURL + "/api/v1"
	for _, s := range segments {
		at += "/" + url.PathEscape(s)
	}
	password := a.host.Password.Reveal()
	r := hostclient.Request{
		Method: method, URL: at, Credential: hostclient.CredentialID(a.host.Username + "\x00" + password), Interactive: true, NoRedirects: true,
		Header: http.Header{
			"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(a.host.Username+":"+password))},
			"Accept":        {"application/json"},
		},
	}
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("write the request %s %s: %w", method, at, err)
		}
		r.Body = text
		r.Header.Set("Content-Type", "application/json")
	}
	return a.client.Get(ctx, r)
}

// exists reports whether there is what the path names.
func (a api) exists(ctx context.Context, segments ...string) (bool, error) {
	answer, err := a.send(ctx, http.MethodGet, nil, segments...)
	switch {
	case err != nil:
		return false, err
	case answer.Status == http.StatusOK:
		return true, nil
	case answer.Status == http.StatusNotFound, answer.Status >= 300 && answer.Status < 400: // moved away
		return false, nil
	}
	return false, refused(answer)
}

// refused is what Gitea said, as far as it is meant for people.
func refused(a *hostclient.Answer) error {
	var said struct{ Message string }
	if json.Unmarshal(a.Body, &said) != nil || said.Message == "" {
		said.Message = "(no message)"
	}
	const most = 1000
	if len(said.Message) > most {
		said.Message = said.Message[:most] + "…"
	}
	return fmt.Errorf("%d %s, %s", a.Status, http.StatusText(a.Status), said.Message)
}
