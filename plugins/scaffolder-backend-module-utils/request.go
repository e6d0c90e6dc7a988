package scaffoldermoduleutils

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
	"github.com/flytower/flytower/plugins/scaffolder-node/template"
)

const (
	// defaultTimeout and maxTimeout are how long a request may take.
	defaultTimeout = time.Minute
	maxTimeout     = 10 * time.Minute
	// maxAnswer bounds the body of an answer, in bytes, and maxShown what the
	// log shows of one that is an error.
	maxAnswer = 10 << 20
	maxShown  = 4 << 10
)

type requestInput struct {
	Path                  string          `json:"path" description:"The route to call, with the id of its plugin in front: /catalog/entities"`
	Method                string          `json:"method" enum:"GET,HEAD,OPTIONS,POST,UPDATE,DELETE,PUT,PATCH" description:"The method of the request"`
	Headers               json.RawMessage `json:"headers,omitempty"`
	Params                json.RawMessage `json:"params,omitempty"`
	Body                  json.RawMessage `json:"body,omitempty"`
	LogRequestPath        *bool           `json:"logRequestPath,omitempty"`
	ContinueOnBadResponse bool            `json:"continueOnBadResponse,omitempty"`
	Timeout               float64         `json:"timeout,omitempty"`
	UseBackstageToken     bool            `json:"useBackstageToken,omitempty"`
	IdempotencyKey        string          `json:"idempotencyKey,omitempty"`
}

const requestSchema = `{"type":"object","properties":{` +
	`"path":{"type":"string","description":"The route to call, with the id of its plugin in front: /catalog/entities"},` +
	`"method":{"type":"string","enum":["GET","HEAD","OPTIONS","POST","UPDATE","DELETE","PUT","PATCH"],"description":"The method of the request"},` +
	`"headers":{"type":"object","additionalProperties":{},"description":"Headers of the request. With an Authorization, no token of the user is sent"},` +
	`"params":{"type":"object","additionalProperties":{},"description":"Parameters of the query"},` +
	`"body":{"description":"The body: a text, or a value that is sent as JSON"},` +
	`"logRequestPath":{"type":"boolean","description":"Whether the log of the task shows the path. Default: true"},` +
	`"continueOnBadResponse":{"type":"boolean","description":"Goes on when the status is 400 or more, with the answer as output. Default: the step fails"},` +
	`"timeout":{"type":"number","description":"How long the request may take, in milliseconds, ten minutes at most. Default: 60000"},` +
	`"useBackstageToken":{"type":"boolean","description":"Sends the token that the task was created with, in place of one for the plugin"},` +
	`"idempotencyKey":{"type":"string","description":"A name for the request within the step. Requests that change something are sent once per task, whether they have one or not"}},` +
	`"required":["path","method"],"additionalProperties":false,"$schema":"http://json-schema.org/draft-07/schema#"}`

// answer is what came back, and the output of the action.
type answer struct {
	Code    int               `json:"code" description:"The status of the answer"`
	Headers map[string]string `json:"headers" description:"Its headers, with names in lower case"`
	Body    json.RawMessage   `json:"body" description:"Its body: the value if it is JSON, else an object with the text as message"`
}

func request(id string, peers core.PluginClientService) scaffoldernode.Action {
	a := scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: id, Description: "Calls a route of a plugin of this backend, on behalf of who runs the template. A dry run sends only what changes nothing.", SupportsDryRun: true,
		Examples: example("Find a component", "steps:\n  - id: find\n    action: "+id+"\n    input:\n      method: GET\n      path: /catalog/entities\n      params:\n        filter: kind=component,metadata.name=shop\n"),
	}, func(context.Context, *scaffoldernode.ActionContext, requestInput) (answer, error) {
		return answer{}, nil
	})
	a.Input = json.RawMessage(requestSchema)
	a.Output = json.RawMessage(`{"type":"object","properties":{` +
		`"code":{"type":"number","description":"The status of the answer"},` +
		`"headers":{"type":"object","additionalProperties":{},"description":"Its headers, with names in lower case"},` +
		`"body":{"description":"Its body: the value if it is JSON, else an object with the text as message"}},` +
		`"additionalProperties":false,"$schema":"http://json-schema.org/draft-07/schema#"}`)
	a.Run = func(ctx context.Context, c *scaffoldernode.ActionContext, raw json.RawMessage) error {
		var in requestInput
		if err := json.Unmarshal(raw, &in); err != nil {
			return fmt.Errorf("read the input of action %s: %w", id, err)
		}
		if in.LogRequestPath == nil || *in.LogRequestPath {
			c.Logger.Info("Creating " + in.Method + " request with " + id + " scaffolder action against " + in.Path)
		} else {
			c.Logger.Info("Creating " + in.Method + " request with " + id + " scaffolder action")
		}
		call, err := in.call()
		if err != nil {
			return err
		}
		if c.DryRun && !changesNothing(in.Method) {
			c.Logger.Info("Dry run mode. Skipping non dry-run safe method '" + in.Method + "'")
			return nil
		}
		got, err := sendOnce(ctx, c, peers, in, call)
		if err != nil {
			return err
		}
		if got.Code >= http.StatusBadRequest && !in.ContinueOnBadResponse {
			return errRefused
		}
		return errors.Join(c.Output("code", got.Code), c.Output("headers", got.Headers), c.Output("body", got.Body))
	}
	return a
}

// errRefused is the error of answers that say that something went wrong. What
// they say is in the log of the task.
var errRefused = apierr.New(apierr.KindError, "Unable to complete request")

func changesNothing(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// call is a request that has been checked.
type call struct {
	plugin, path string
	query        url.Values
	header       http.Header
	body         []byte
}

var (
	pluginID    = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)
	headerName  = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")
	headerValue = regexp.MustCompile(`^[^\x00-\x08\x0A-\x1F\x7F]*$`)
)

// call reads the input. What does not stay on the backend is refused.
func (in requestInput) call() (out call, err error) {
	if out.plugin, out.path, out.query, err = route(in.Path); err != nil {
		return out, err
	}
	params, err := pairs("params", in.Params)
	if err != nil {
		return out, err
	}
	for _, p := range params {
		out.query.Set(p[0], p[1])
	}
	headers, err := pairs("headers", in.Headers)
	if err != nil {
		return out, err
	}
	out.header = http.Header{}
	for _, h := range headers {
		name := http.CanonicalHeaderKey(h[0])
		if slices.Contains(ownHeaders, name) {
			return out, apierr.Input("the header %s is not for templates to set", name)
		}
		if !headerName.MatchString(h[0]) || !headerValue.MatchString(h[1]) {
			return out, apierr.Input("the header %q, or its value, cannot be sent", h[0])
		}
		out.header.Set(name, h[1])
	}
	out.body, err = in.body(out.header)
	return out, err
}

// ownHeaders belong to the connection, or would pretend that the request comes
// from elsewhere.
var ownHeaders = []string{
	"Connection", "Content-Length", "Forwarded", "Host", "Idempotency-Key", "Keep-Alive", "Proxy-Authorization", "Proxy-Connection",
	"Te", "Trailer", "Transfer-Encoding", "Upgrade", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip",
}

// route divides a path into plugin, path and query.
func route(text string) (plugin, path string, query url.Values, err error) {
	refused := func(why string) (string, string, url.Values, error) {
		return "", "", nil, apierr.Input("the path %q %s: it begins with the id of a plugin of this backend, such as /catalog/entities", text, why)
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r == '\\' || r == 0x7F || r == utf8.RuneError }) {
		return refused("contains spaces, control characters or backslashes")
	}
	u, err := url.Parse("/" + strings.TrimPrefix(text, "/"))
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil {
		return refused("is none")
	}
	if u.Fragment != "" {
		return refused("has a fragment")
	}
	escaped := strings.TrimPrefix(u.EscapedPath(), "/")
	escaped = strings.TrimPrefix(escaped, "api/")
	for segment := range strings.SplitSeq(escaped, "/") {
		if plain, err := url.PathUnescape(segment); err != nil || plain == "." || plain == ".." || strings.ContainsAny(plain, `/\`) {
			return refused("leads elsewhere")
		}
	}
	plugin, path, _ = strings.Cut(escaped, "/")
	if !pluginID.MatchString(plugin) {
		return refused("names no plugin")
	}
	query, err = url.ParseQuery(u.RawQuery)
	if err != nil {
		return refused("has a query that cannot be read")
	}
	return plugin, "/" + path, query, nil
}

// pairs reads an object of texts, numbers and the like.
func pairs(what string, raw json.RawMessage) (list [][2]string, err error) {
	if len(raw) == 0 {
		return nil, nil
	}
	r, err := template.RecordOf(raw)
	if err != nil {
		return nil, apierr.Input("%s have to be an object", what)
	}
	for name, v := range r.All() {
		list = append(list, [2]string{name, template.Text(v)})
	}
	return list, nil
}

// body is what is sent. What is no text becomes JSON.
func (in requestInput) body(header http.Header) ([]byte, error) {
	if len(in.Body) == 0 || string(in.Body) == "null" {
		return nil, nil
	}
	var text string
	if json.Unmarshal(in.Body, &text) == nil {
		return []byte(text), nil
	}
	if header.Get("Content-Type") == "" {
		header.Set("Content-Type", "application/json")
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, in.Body); err != nil {
		return nil, fmt.Errorf("write the body: %w", err)
	}
	return compact.Bytes(), nil
}

// sendOnce sends a request that changes something once per task, and returns
// what it was answered then.
func sendOnce(ctx context.Context, c *scaffoldernode.ActionContext, peers core.PluginClientService, in requestInput, r call) (answer, error) {
	fn := func(ctx context.Context) (answer, error) { return send(ctx, c, peers, in, r) }
	if changesNothing(in.Method) && in.IdempotencyKey == "" {
		return fn(ctx)
	}
	sum := sha256.New()
	if in.IdempotencyKey != "" {
		fmt.Fprintf(sum, "%q", in.IdempotencyKey)
	} else {
		fmt.Fprintf(sum, "%q %q %q %q %q", in.Method, r.plugin, r.path, r.query.Encode(), r.body)
	}
	var refused answer
	got, err := scaffoldernode.Checkpoint(ctx, c, "request."+c.Iteration+"."+hex.EncodeToString(sum.Sum(nil)[:16]), func(ctx context.Context) (answer, error) {
		got, err := fn(ctx)
		if err == nil && got.Code >= http.StatusBadRequest {
			refused = got
			return got, errRefused // it may be sent again
		}
		return got, err
	})
	if errors.Is(err, errRefused) {
		return refused, nil
	}
	return got, err
}

// key tells requests of steps apart; it is the same when a step runs again.
func key(c *scaffoldernode.ActionContext, in requestInput) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q", c.TaskID, c.StepID, c.Iteration, in.IdempotencyKey))
	return hex.EncodeToString(sum[:16])
}

func send(ctx context.Context, c *scaffoldernode.ActionContext, peers core.PluginClientService, in requestInput, r call) (out answer, err error) {
	timeout := defaultTimeout
	if in.Timeout > 0 {
		timeout = time.Duration(min(in.Timeout, float64(maxTimeout.Milliseconds())) * float64(time.Millisecond))
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("Request was aborted as it took longer than %g seconds", timeout.Seconds())) //nolint:revive,staticcheck // users see it
	defer cancel()
	header := r.header.Clone()
	header.Set("Idempotency-Key", key(c, in))
	var who core.Credentials
	switch token := c.Secrets["backstageToken"]; {
	case header.Get("Authorization") != "":
	case in.UseBackstageToken && !token.IsZero():
		header.Set("Authorization", "Bearer "+token.Reveal())
	default:
		if who, err = c.InitiatorCredentials(ctx); err != nil {
			return out, err
		}
	}
	resp, err := peers.Do(ctx, core.PluginRequest{
		Plugin: r.plugin, Method: in.Method, Path: r.path, Query: r.query, Header: header, Body: bytes.NewReader(r.body), As: who,
	})
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return out, fmt.Errorf("There was an issue with the request: %w", err) //nolint:revive,staticcheck // users see it
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return out, fmt.Errorf("Could not get response: %w", err) //nolint:revive,staticcheck // users see it
	}
	if len(body) > maxAnswer {
		return out, apierr.Input("the answer is larger than %d MB", maxAnswer>>20)
	}
	out = answer{Code: resp.StatusCode, Headers: map[string]string{}}
	for name, values := range resp.Header {
		if name != "Set-Cookie" {
			out.Headers[strings.ToLower(name)] = strings.Join(values, ", ")
		}
	}
	if out.Body, err = value(resp.Header.Get("Content-Type"), body); err != nil {
		return out, fmt.Errorf("Could not get response: %w", err) //nolint:revive,staticcheck // users see it
	}
	if out.Code >= http.StatusBadRequest {
		shown := out.Body
		if len(shown) > maxShown {
			shown = append(shown[:maxShown:maxShown], "…"...)
		}
		c.Logger.Error(fmt.Sprintf("There was an issue with your request. Status code: %d Response body: %s", out.Code, shown))
	}
	return out, nil
}

// value is what a body means.
func value(contentType string, body []byte) (json.RawMessage, error) {
	if kind, _, _ := mime.ParseMediaType(contentType); kind == "application/json" && len(bytes.TrimSpace(body)) > 0 {
		v, err := template.ParseJSON(body)
		if err != nil {
			return nil, err
		}
		return template.AppendJSON(nil, v), nil
	}
	return json.Marshal(map[string]string{"message": strings.ToValidUTF8(string(body), "\uFFFD")})
}
