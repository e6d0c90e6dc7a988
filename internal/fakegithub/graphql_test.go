package fakegithub

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func run(query string, variables map[string]any) (map[string]any, error) {
	w := &World{base: "http://host"}
	w.AddRepository(Repository{Owner: "acme", Name: "one", DefaultBranch: "main", Topics: []string{"go"}, Files: map[string]string{"main:f": "text"}})
	w.AddRepository(Repository{Owner: "acme", Name: "two"})
	s := &Server{world: *w, queries: map[string]int{}}
	return s.execute("q", query, variables)
}

func TestExecute(t *testing.T) {
	t.Parallel()
	got, err := run(`query q($o: String!, $n: Int!, $with: Boolean!, $without: Boolean = false) {
  owner: repositoryOwner(login: $o) {
    __typename
    repositories(first: $n, orderBy: {field: CREATED_AT, direction: ASC}) {
      nodes { ...f file: object(expression: "HEAD:f") @include(if: $with) { ... on Blob { byteSize } ... on Tree { nothing } } }
      pageInfo { hasNextPage }
    }
  }
}
fragment f on Repository { name defaultBranchRef { name } }`, map[string]any{"o": "ACME", "n": 1.0, "with": true})
	if err == nil || !strings.Contains(err.Error(), "parse error") {
		t.Errorf("a default value, which is not known here: %v, %v", got, err)
	}
	got, err = run(`query q($o: String!, $n: Int!, $with: Boolean!) {
  owner: repositoryOwner(login: $o) {
    __typename
    repositories(first: $n, orderBy: {field: CREATED_AT, direction: ASC}) {
      nodes { ...f file: object(expression: "HEAD:f") @include(if: $with) { ... on Blob { byteSize } ... on Tree { nothing } } }
      pageInfo { hasNextPage }
    }
  }
}
fragment f on Repository { name defaultBranchRef { name } }`, map[string]any{"o": "ACME", "n": 1.0, "with": true})
	want := map[string]any{"owner": map[string]any{"__typename": "Organization", "repositories": map[string]any{
		"nodes":    []any{map[string]any{"name": "one", "defaultBranchRef": map[string]any{"name": "main"}, "file": map[string]any{"byteSize": 4}}},
		"pageInfo": map[string]any{"hasNextPage": true},
	}}}
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
}

// What GitHub refuses is refused.
func TestRefusedQueries(t *testing.T) {
	t.Parallel()
	list := func(args string) string {
		return "query q { repositoryOwner(login: \"acme\") { repositories(" + args + ") { nodes { name } } } }"
	}
	for query, want := range map[string]string{
		"query q { nothing }":                                              "doesn't exist",
		"query q { a: repositoryOwner ":                                    "parse error",
		"query r { repositoryOwner(login: \"acme\") { login } }":           "no operation",
		"query q { repositoryOwner(login: \"acme\") }":                     "must have selections",
		"query q { repositoryOwner(login: \"acme\") { login { x } } }":     "can't be made on scalars",
		"query q { repositoryOwner(login: \"acme\") { login(x: 1) } }":     "doesn't accept arguments",
		"query q { repositoryOwner(login: $o) { login } }":                 "not declared",
		"query q($o: String!) { repositoryOwner(login: $o) { login } }":    "invalid value",
		"query q { repositoryOwner(login: \"acme\") { ...f } }":            "not defined",
		"query q { repository(owner: \"acme\", name: \"none\") { name } }": "Could not resolve",
		list(`orderBy: {field: NAME, direction: ASC}`):                     "must provide",
		list("first: 101"):           "exceeds",
		list("first: 0"):             "exceeds",
		list(`first: 1, after: "2"`): "valid cursor",
	} {
		if got, err := run(query, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v, want %q", query, got, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("query q($a: [Int!]!) { x: a(b: $a, c: {d: \"e\"}) @include(if: true) { ...f ... on T { y } } } fragment f on T { z }")
	f.Add("query q {")
	f.Add("fragment")
	f.Fuzz(func(t *testing.T, query string) {
		d, err := parse(query)
		if err == nil && d == nil {
			t.Error("neither a document nor an error")
		}
	})
}
