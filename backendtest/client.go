package backendtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
)

// maxBody bounds the answers that are read, in bytes.
const maxBody = 64 << 20

// Client sends requests to a backend under test. Clients are values: As and
// Header return changed copies.
type Client struct {
	t      testing.TB
	server *Server
	who    Identity
	header http.Header
}

// Client returns a client that acts as the user "user:default/mock" and fails
// t, which is the test or the subtest that uses it.
func (s *Server) Client(t testing.TB) Client {
	return Client{t: t, server: s, who: User("")}
}

// As returns a client that acts as somebody else.
func (c Client) As(who Identity) Client { c.who = who; return c }

// Header returns a client that sends a header, too.
func (c Client) Header(name, value string) Client {
	if c.header = c.header.Clone(); c.header == nil {
		c.header = http.Header{}
	}
	c.header.Add(name, value)
	return c
}

// Get requests a path, for example "/api/greeter/en?polite=true".
func (c Client) Get(path string) *Response { c.t.Helper(); return c.Do(http.MethodGet, path, nil) }

// Post sends a body; see [Client.Do].
func (c Client) Post(path string, body any) *Response {
	c.t.Helper()
	return c.Do(http.MethodPost, path, body)
}

// Put sends a body; see [Client.Do].
func (c Client) Put(path string, body any) *Response {
	c.t.Helper()
	return c.Do(http.MethodPut, path, body)
}

// Delete deletes what is at the path.
func (c Client) Delete(path string) *Response {
	c.t.Helper()
	return c.Do(http.MethodDelete, path, nil)
}

// Do sends a request. The body is sent as it is if it is an io.Reader, else as
// JSON; nil is none. Redirects are not followed. A backend that does not
// answer fails the test.
func (c Client) Do(method, path string, body any) *Response {
	c.t.Helper()
	var reader io.Reader
	contentType := ""
	switch b := body.(type) {
	case nil:
	case io.Reader:
		reader = b
	default:
		text, err := json.Marshal(b)
		if err != nil {
			c.t.Fatalf("%s %s: the body does not encode as JSON: %v", method, path, err)
		}
		reader, contentType = bytes.NewReader(text), "application/json"
	}
	if !strings.HasPrefix(path, "/") {
		c.t.Fatalf("%s %s: the path must begin with a slash, such as /api/greeter/en", method, path)
	}
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.server.URL()+path, reader)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	c.who.apply(req.Header, c.server.setup.get().anonymous != nil)
	maps.Copy(req.Header, c.header)
	resp, err := c.server.http.Do(req)
	if err != nil {
		c.t.Fatalf("%s %s: no answer: %v", method, path, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case err != nil:
		c.t.Fatalf("%s %s: status %d, and the body breaks off: %v", method, path, resp.StatusCode, err)
	case len(text) > maxBody:
		c.t.Fatalf("%s %s: status %d, and the body is larger than %d bytes; read such answers with an http.Client of your own", method, path, resp.StatusCode, maxBody)
	}
	return &Response{t: c.t, request: method + " " + path, Status: resp.StatusCode, Header: resp.Header, Body: text}
}

// Response is an answer, read as a whole.
type Response struct {
	t       testing.TB
	request string

	Status int
	Header http.Header
	Body   []byte
}

// Expect fails the test if the status is another, and says what came instead.
func (r *Response) Expect(status int) *Response {
	r.t.Helper()
	if r.Status != status {
		r.t.Fatalf("%s: status %d, want %d\n%s", r.request, r.Status, status, r.describe())
	}
	return r
}

// ExpectError fails the test unless the answer is an error with this status
// and name, for example 404 and "NotFoundError".
func (r *Response) ExpectError(status int, name string) *Response {
	r.t.Helper()
	r.Expect(status)
	var body struct{ Error struct{ Name string } }
	if err := json.Unmarshal(r.Body, &body); err != nil || body.Error.Name != name {
		r.t.Fatalf("%s: status %d, want an error with the name %s\n%s", r.request, r.Status, name, r.describe())
	}
	return r
}

// JSON decodes the body into out, which is a pointer, and fails the test if
// that is not possible.
func (r *Response) JSON(out any) *Response {
	r.t.Helper()
	if err := json.Unmarshal(r.Body, out); err != nil {
		r.t.Fatalf("%s: the body does not decode into %T: %v\n%s", r.request, out, err, r.describe())
	}
	return r
}

// Text returns the body without the white space around it.
func (r *Response) Text() string { return strings.TrimSpace(string(r.Body)) }

// maxShown bounds what of a body a message shows, in bytes.
const maxShown = 2000

func (r *Response) describe() string {
	text := r.Body
	var indented bytes.Buffer
	if json.Indent(&indented, r.Body, "", "  ") == nil {
		text = indented.Bytes()
	}
	cut := ""
	if len(text) > maxShown {
		text, cut = text[:maxShown], fmt.Sprintf("\n… %d bytes in all", len(r.Body))
	}
	switch {
	case len(r.Body) == 0:
		return "(no body)"
	default:
		return strings.ToValidUTF8(string(text), "�") + cut
	}
}
