package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

const header = `apiVersion: scaffolder.backstage.io/v1beta3
kind: Template
metadata: {name: %s}
spec:
  type: service
  owner: bench
  parameters: {type: object}
  steps:
`

// values are those of the form.
func values() map[string]any {
	return map[string]any{
		"name": "orders", "owner": "group:default/shop", "description": "Takes & keeps <orders>", "port": 8080, "metrics": true,
		"regions": []string{"eu-west-1", "us-east-1", "ap-south-1"}, "labels": map[string]string{"tier": "1", "team": "shop"},
	}
}

// folders is how many folders the files are in.
const folders = 20

func makeTemplates(dir string, files int) error {
	var steps strings.Builder
	fmt.Fprintf(&steps, header, "bench-steps")
	for i := range 10 {
		fmt.Fprintf(&steps, "    - {id: s%d, name: Step %d, action: 'debug:log', input: {message: 'step %d of ${{ parameters.name }}'}}\n", i, i, i)
	}
	all := map[string]string{
		"template.yaml": fmt.Sprintf(header, "bench-files") + "    - {id: fetch, name: Fetch, action: 'fetch:template', input: {url: ./skeleton, values: '${{ parameters }}'}}\n",
		"steps.yaml":    steps.String(),
	}
	random := rand.New(rand.NewPCG(1, 2))
	for i := range files {
		name, text := file(random, i)
		all[fmt.Sprintf("skeleton/d%02d/%s", i%folders, name)] = text
	}
	for name, text := range all {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil { //nolint:gosec // test data
			return err
		}
	}
	return nil
}

// file makes a file as skeletons have them: code, manifests and documents,
// some of them without expressions, and a picture now and then.
func file(random *rand.Rand, i int) (name, text string) {
	words := func(n int) string {
		var b strings.Builder
		for j := range n {
			fmt.Fprintf(&b, "%s%s", []string{"service", "order", "queue", "worker", "the", "of", "a", "{ }", "returns", "// note"}[random.IntN(10)], map[bool]string{true: "\n", false: " "}[j%12 == 11])
		}
		return b.String()
	}
	switch i % 10 {
	case 0, 1, 2:
		return fmt.Sprintf("${{ values.name }}-%d.go", i), "package ${{ values.name | replace(\"-\", \"_\") }}\n\n// " + words(80) + "\nconst port = ${{ values.port + " + fmt.Sprint(i) +
			" }}\n{% if values.metrics %}\nimport \"metrics/${{ values.owner }}\"\n{% endif %}\n" + words(60)
	case 3, 4:
		return fmt.Sprintf("manifest-%d.yaml", i), "kind: Deployment\nmetadata:\n  name: ${{ values.name }}-" + fmt.Sprint(i) + "\n  labels:\n{%- for key, value in values.labels %}\n    ${{ key }}: \"${{ value }}\"\n{%- endfor %}\nspec:\n" +
			"{%- for region in values.regions %}\n  - region: ${{ region | upper }}\n    index: ${{ loop.index }}\n    owner: ${{ (values.owner | parseEntityRef).name }}\n{%- endfor %}\n# " + words(50)
	case 5, 6:
		return fmt.Sprintf("doc-%d.md", i), "# ${{ values.name | title }} ${{ values.description }}\n\n" + words(200) + "\n{% raw %}{{ untouched }}{% endraw %}\n{# note #}${{ values.labels | dump }}\n"
	case 7:
		return fmt.Sprintf("set-%d.txt", i), "{% set total = 0 %}{% for r in values.regions %}{% set total = total + loop.index %}{% endfor %}${{ total }} ${{ values.missing }} ${{ values.regions | join(\", \") }}\n" + words(100)
	case 8:
		return fmt.Sprintf("plain-%d.txt", i), words(250)
	}
	picture := make([]byte, 900)
	for j := range picture {
		picture[j] = byte(random.IntN(256))
	}
	return fmt.Sprintf("picture-%d.png", i), "\x89PNG\r\n\x1a\n\x00" + string(picture)
}

type content struct {
	Path       string `json:"path"`
	Content    string `json:"base64Content"`
	Executable bool   `json:"executable"`
}

// compare renders the template in dry runs.
func compare(ctx context.Context, dir string, backends []*target) error {
	files := []content{}
	err := fs.WalkDir(os.DirFS(dir), "skeleton", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(filepath.Join(dir, name))
		files = append(files, content{Path: name, Content: base64.StdEncoding.EncodeToString(text)})
		return err
	})
	if err != nil {
		return err
	}
	request := map[string]any{
		"template": map[string]any{
			"apiVersion": "scaffolder.backstage.io/v1beta3", "kind": "Template", "metadata": map[string]any{"name": "bench-files"},
			"spec": map[string]any{"type": "service", "owner": "bench", "steps": []any{map[string]any{
				"id": "fetch", "name": "Fetch", "action": "fetch:template", "input": map[string]any{"url": "./skeleton", "values": "${{ parameters }}"},
			}}},
		},
		"values": values(), "secrets": map[string]string{}, "directoryContents": files,
	}
	var first map[string]content
	for i, t := range backends {
		var answer struct {
			DirectoryContents []content `json:"directoryContents"`
		}
		if err := t.call(ctx, http.MethodPost, "/api/scaffolder/v2/dry-run", request, &answer); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
		found := map[string]content{}
		for _, c := range answer.DirectoryContents {
			found[c.Path] = c
		}
		if i == 0 {
			first = found
			fmt.Printf("%s renders %d files\n", t.name, len(found))
			continue
		}
		differ := 0
		for path, c := range found {
			if first[path] != c {
				if differ++; differ <= 3 {
					a, _ := base64.StdEncoding.DecodeString(first[path].Content) //nolint:errcheck // shown as it is
					b, _ := base64.StdEncoding.DecodeString(c.Content)           //nolint:errcheck // shown as it is
					fmt.Printf("%s differs from byte %d: %.300q %.300q\n", path, commonPrefix(a, b), a, b)
				}
			}
		}
		if differ > 0 || len(found) != len(first) {
			return fmt.Errorf("of %d files of %s, %d differ from the %d of %s", len(found), t.name, differ, len(first), backends[0].name)
		}
		fmt.Printf("%s renders the same %d files\n", t.name, len(found))
	}
	return nil
}

func commonPrefix(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	if bytes.Equal(a, b) {
		return -1
	}
	return min(len(a), len(b))
}
