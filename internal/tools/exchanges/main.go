// Command exchanges turns a folder with recorded answers of the reference
// backend, one JSON file per exchange, into the lines that package
// conformance/exchange reads.
//
//	go run ./internal/tools/exchanges -groups root,authn,catalog RECORDS >conformance/testdata/catalog.jsonl
//	go run ./internal/tools/exchanges -groups permission RECORDS >conformance/testdata/permission.jsonl
//	go run ./internal/tools/exchanges -groups auth RECORDS >conformance/testdata/auth.jsonl
//	go run ./internal/tools/exchanges -groups catalog,auth,policy RECORDS-POLICY >conformance/testdata/policy.jsonl
//
// Exchanges that carry more than 32 KiB, or that need a WebSocket, are left
// out.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/flytower/flytower/conformance/exchange"
)

func main() {
	groups := flag.String("groups", "root,authn,catalog", "groups to take over, with commas between them")
	files := flag.String("files", "127.0.0.1:7199", "address of the server with files during the recording")
	base := flag.String("base", "127.0.0.1:7107", "address of the recorded backend")
	flag.Parse()
	if err := run(os.Stdout, flag.Arg(0), strings.Split(*groups, ","), *files, *base); err != nil {
		fmt.Fprintln(os.Stderr, "exchanges: "+err.Error())
		os.Exit(1)
	}
}

// maxRequest bounds what is sent in an exchange, in bytes.
const maxRequest = 32 << 10

// record is a recorded exchange.
type record struct {
	N       int    `json:"n"`
	Name    string `json:"name"`
	Group   string `json:"group"`
	Note    string `json:"note"`
	Error   string `json:"error"`
	Request struct {
		Method       string            `json:"method"`
		Path         string            `json:"path"`
		PathTemplate string            `json:"pathTemplate"`
		Headers      map[string]string `json:"headers"`
		Body         json.RawMessage   `json:"body"`
	} `json:"request"`
	Response struct {
		Status   int            `json:"status"`
		Headers  map[string]any `json:"headers"`
		Body     any            `json:"body"`
		Messages any            `json:"messages"`
	} `json:"response"`
	Captures  map[string]string `json:"captures"`
	Unordered []string          `json:"unordered"`
	Ignore    []string          `json:"ignore"`
}

func run(w io.Writer, dir string, groups []string, files, base string) error {
	if dir == "" {
		return errors.New("name the folder with the records")
	}
	paths, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return err
	}
	if len(paths) == 0 {
		return fmt.Errorf("%s has no records", dir)
	}
	var records []record
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var r record
		if err := json.Unmarshal(text, &r); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		records = append(records, r)
	}
	slices.SortFunc(records, func(a, b record) int { return a.N - b.N })
	places := exchange.Places{"{{inputDirUri}}": "{{inputDir}}", files: "{{files}}", url.QueryEscape(files): "{{files}}", base: "{{base}}"}
	var all []exchange.Exchange
	for _, r := range records {
		// The group settle has an exchange per group that it waits for.
		group := r.Group
		if group == "settle" {
			group = strings.TrimPrefix(r.Name, "settle-")
		}
		if !slices.Contains(groups, group) || r.Error != "" || r.Response.Messages != nil || len(r.Request.Body) > maxRequest {
			continue
		}
		all = append(all, convert(r, places, files))
	}
	return exchange.Write(w, all)
}

// polled are notes of exchanges that were repeated until something had
// happened; afterChange are those that were, too, without a note.
var (
	polled      = regexp.MustCompile(`^poll(s|ed) until`)
	afterChange = []string{
		"catalog-location-registered-api", "catalog-location-updated-entity",
		"catalog-scheduler-cancel-idle",               // the task may run right now
		"policy-task-list", "policy-task-list-static", // a task of them may run right now
	}
)

// functions are where the values are that functions of the records read.
var functions = map[string]string{
	"sessionId": "location.last", "sessionId2": "location.last", "code": "redirectUrl.code",
	"refreshToken": "body.refresh_token", "refreshToken2": "body.refresh_token",
}

// texts are values in the words of the reference. Ours are our own.
var texts = map[string][]string{
	"catalog-actions-list": {"body.actions.**.description", "body.actions.*.title"},
}

func convert(r record, places exchange.Places, files string) exchange.Exchange {
	x := exchange.Exchange{
		Name: r.Name, Group: r.Group, Note: r.Note, Unordered: r.Unordered, Ignore: r.Ignore,
		Poll: polled.MatchString(r.Note) || slices.Contains(afterChange, r.Name),
	}
	x.Request = exchange.Request{Method: r.Request.Method, Path: r.Request.Path, Headers: r.Request.Headers, Body: r.Request.Body}
	if r.Request.PathTemplate != "" {
		x.Request.Path = r.Request.PathTemplate
	}
	x.Request.Path = strings.ReplaceAll(x.Request.Path, files, "{{files}}")
	x.Request.Path = strings.ReplaceAll(x.Request.Path, strings.ReplaceAll(files, ":", "%3A"), "{{files|uri}}")
	x.Request.Body = json.RawMessage(strings.ReplaceAll(string(x.Request.Body), files, "{{files}}"))
	for name, from := range r.Captures {
		if x.Capture == nil {
			x.Capture = map[string]string{}
		}
		if from == "function" {
			if from = functions[name]; from == "" {
				from = "link.after" // the others read the next page
			}
		}
		x.Capture[name] = from
	}
	x.Ignore = append(x.Ignore, texts[r.Name]...)
	x.Response = x.Normalise(exchange.Answer{Status: r.Response.Status, Headers: r.Response.Headers, Body: r.Response.Body}, places)
	return x
}
