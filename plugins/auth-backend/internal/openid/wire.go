package openid

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/flytower/flytower/apierr"
)

// protocolError is an error as OAuth has it (RFC 6749 §5.2).
type protocolError struct {
	Code        string `json:"error"`
	Description string `json:"error_description"`
}

// problem is an error with the code and the status that it has on the wire.
type problem struct {
	status    int
	code      string
	challenge bool // the client has used the scheme Basic
	err       error
}

// Error is that of the cause.
func (p *problem) Error() string { return p.err.Error() }

// Unwrap returns the cause.
func (p *problem) Unwrap() error { return p.err }

func invalidRequest(text string) error {
	return &problem{status: http.StatusBadRequest, code: "invalid_request", err: apierr.Input("%s", text)}
}

// answered sends the errors of a handler in the form of the protocol.
func answered(handle func(http.ResponseWriter, *http.Request) error) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		err := handle(w, r)
		if err == nil {
			return nil
		}
		var p *problem
		if !errors.As(err, &p) {
			p = &problem{err: err}
			switch apierr.KindOf(err) {
			case apierr.KindInput, apierr.KindNotFound:
				p.status, p.code = http.StatusBadRequest, "invalid_request"
			case apierr.KindAuthentication:
				p.status, p.code = http.StatusUnauthorized, "invalid_client"
			case apierr.KindNotAllowed:
				p.status, p.code = http.StatusForbidden, "access_denied"
			default:
				return err // logged, and its text kept from the client
			}
		}
		if p.challenge {
			w.Header().Set("WWW-Authenticate", `Basic realm="clients", charset="UTF-8"`)
		}
		apierr.WriteJSON(w, p.status, protocolError{p.code, p.err.Error()})
		return nil
	}
}

// maxBody is how long a request may be, in bytes.
const maxBody = 64 << 10

// parameters are what a client sends. Only texts count.
type parameters map[string]string

// missing returns an error that names those of the parameters that are not
// there.
func (p parameters) missing(names ...string) error {
	var problems []string
	for _, name := range names {
		if _, ok := p[name]; !ok {
			problems = append(problems, undefined("string", name))
		}
	}
	if problems == nil {
		return nil
	}
	return validation(problems...)
}

func undefined(kind, name string) string {
	return `Invalid input: expected ` + kind + `, received undefined at "` + name + `"`
}

func validation(problems ...string) error {
	return invalidRequest("Validation error: " + strings.Join(problems, "; "))
}

// fromQuery reads the parameters of a form. Each may be there once (RFC 6749
// §3.1), other than "resource" (RFC 8707 §2), of which there is no use here.
func fromQuery(form url.Values) (parameters, error) {
	p := parameters{}
	for name, values := range form {
		if len(values) > 1 && name != "resource" {
			return nil, validation(`Invalid input: expected string, received array at "` + cut(name) + `"`)
		}
		p[name] = values[0]
	}
	return p, p.check()
}

// check refuses texts that the database does not take.
func (p parameters) check() error {
	for name, text := range p {
		if strings.ContainsRune(text, 0) || !utf8.ValidString(text) {
			return validation(`Invalid input: expected text at "` + strings.ToValidUTF8(cut(name), "") + `"`)
		}
	}
	return nil
}

func cut(text string) string {
	if len(text) > 100 {
		return strings.ToValidUTF8(text[:100], "") + "…"
	}
	return text
}

// body reads the body of a request, which is a form or JSON.
func body(r *http.Request) (parameters, map[string]json.RawMessage, error) {
	raw, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return nil, nil, invalidRequest("The body of the request cannot be read")
	}
	if len(raw) > maxBody {
		return nil, nil, &problem{status: http.StatusRequestEntityTooLarge, code: "invalid_request", err: apierr.Input("The body of the request is longer than %d bytes", maxBody)}
	}
	if len(raw) == 0 {
		return parameters{}, nil, nil
	}
	// A type that is none is no type that is known, either.
	switch kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind {
	case "application/x-www-form-urlencoded":
		form, err := url.ParseQuery(string(raw))
		if err != nil {
			return nil, nil, invalidRequest("The body of the request is no form")
		}
		p, err := fromQuery(form)
		return p, nil, err
	case "application/json":
		var members map[string]json.RawMessage
		if json.Unmarshal(raw, &members) != nil {
			return nil, nil, invalidRequest("The body of the request is no JSON object")
		}
		p := parameters{}
		for name, value := range members {
			var text string
			if json.Unmarshal(value, &text) == nil && string(value) != "null" {
				p[name] = text
			}
		}
		return p, members, p.check()
	default:
		return parameters{}, nil, nil
	}
}

// credentials are those of a client.
type credentials struct {
	id, secret string
	basic      bool
}

// credentials returns what the client shows, in the header or in the body; the
// zero value if it shows nothing.
func (p parameters) credentials(r *http.Request) (credentials, error) {
	c := credentials{id: p["client_id"], secret: p["client_secret"]}
	if scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " "); !strings.EqualFold(scheme, "Basic") {
		return c, nil
	}
	id, secret, ok := r.BasicAuth()
	if ok {
		var err1, err2 error
		id, err1 = url.QueryUnescape(id)
		secret, err2 = url.QueryUnescape(secret)
		ok = err1 == nil && err2 == nil && id != "" && parameters{"id": id, "secret": secret}.check() == nil
	}
	switch {
	case !ok:
		return c, badClient(true)
	case c.secret != "", c.id != "" && c.id != id:
		return c, invalidRequest("The client authenticates in more than one way")
	}
	return credentials{id: id, secret: secret, basic: true}, nil
}

func badClient(basic bool) error {
	return &problem{status: http.StatusUnauthorized, code: "invalid_client", challenge: basic, err: apierr.Authentication("Invalid client credentials")}
}
