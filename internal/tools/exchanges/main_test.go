package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/conformance/exchange"
)

func TestRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"10-b.json": `{"n":10,"name":"catalog-b","group":"catalog","note":"polled until it is there","unordered":["body"],
			"request":{"method":"GET","path":"/x/123","pathTemplate":"/x/{{id}}?u=http%3A%2F%2F127.0.0.1%3A7199%2F","headers":{"authorization":"Bearer {{staticToken}}"}},
			"response":{"status":200,"headers":{"content-type":"application/json","date":"today"},"body":["b","a at 127.0.0.1:7199"]}}`,
		"2-a.json": `{"n":2,"name":"catalog-a","group":"catalog","captures":{"id":"body.id","next":"function"},
			"request":{"method":"POST","path":"/x","headers":{},"body":{"target":"http://127.0.0.1:7199/y"}},
			"response":{"status":201,"headers":{},"body":{"id":"one"}}}`,
		"3-other.json":   `{"n":3,"name":"search-x","group":"search","request":{"method":"GET","path":"/"},"response":{"status":200}}`,
		"4-settled.json": `{"n":4,"name":"settle-search","group":"settle","request":{"method":"GET","path":"/"},"response":{"status":200}}`,
		"5-large.json":   `{"n":5,"name":"catalog-large","group":"catalog","request":{"method":"POST","path":"/","body":"` + strings.Repeat("x", maxRequest) + `"},"response":{"status":413}}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if err := run(&out, dir, []string{"catalog"}, "127.0.0.1:7199", "127.0.0.1:7107"); err != nil {
		t.Fatal(err)
	}
	got, err := exchange.Read(&out)
	if err != nil {
		t.Fatal(err)
	}
	want := []exchange.Exchange{
		{
			Name: "catalog-a", Group: "catalog", Capture: map[string]string{"id": "body.id", "next": "link.after"},
			Request:  exchange.Request{Method: "POST", Path: "/x", Body: []byte(`{"target":"http://{{files}}/y"}`)},
			Response: exchange.Response{Status: 201, Body: map[string]any{"id": "one"}},
		},
		{
			Name: "catalog-b", Group: "catalog", Note: "polled until it is there", Poll: true, Unordered: []string{"body"},
			Request:  exchange.Request{Method: "GET", Path: "/x/{{id}}?u=http%3A%2F%2F{{files|uri}}%2F", Headers: map[string]string{"authorization": "Bearer {{staticToken}}"}},
			Response: exchange.Response{Status: 200, Headers: map[string]any{"content-type": "application/json"}, Body: []any{"a at {{files}}", "b"}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestRunRefuses(t *testing.T) {
	t.Parallel()
	broken := t.TempDir()
	if err := os.WriteFile(filepath.Join(broken, "1.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"", t.TempDir(), broken} {
		if err := run(&bytes.Buffer{}, dir, nil, "a:1", "b:2"); err == nil {
			t.Errorf("%q was taken", dir)
		}
	}
}
