package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/flytower/flytower/internal/jsonvalue"
)

type dataSet struct {
	files  []string // in the order of the manifest
	texts  map[string][]byte
	want   map[string][]verdict
	values map[string]map[int]any
}

// verdict is what happened to one document.
type verdict struct {
	Result     string `json:"result"`
	Ref        string `json:"ref"`
	Kind       string `json:"kind"`
	APIVersion string `json:"apiVersion"`
	Message    string `json:"message"`
}

func readDataSet(dir string) (*dataSet, error) {
	d := &dataSet{texts: map[string][]byte{}, want: map[string][]verdict{}, values: map[string]map[int]any{}}

	manifest, err := os.ReadFile(filepath.Join(dir, "MANIFEST.tsv"))
	if err != nil {
		return nil, err
	}
	for i, line := range strings.Split(strings.TrimRight(string(manifest), "\n"), "\n") {
		name, _, _ := strings.Cut(line, "\t")
		if i == 0 || name == "" {
			continue
		}
		if !filepath.IsLocal(name) {
			return nil, fmt.Errorf("MANIFEST.tsv line %d: %q is no file name", i+1, name)
		}
		if d.texts[name], err = os.ReadFile(filepath.Join(dir, "files", name)); err != nil {
			return nil, fmt.Errorf("MANIFEST.tsv line %d: %w", i+1, err)
		}
		d.files = append(d.files, name)
	}

	var expected []struct {
		File      string    `json:"file"`
		Documents []verdict `json:"documents"`
	}
	text, err := os.ReadFile(filepath.Join(dir, "EXPECTED.json"))
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &expected); err != nil {
		return nil, fmt.Errorf("EXPECTED.json: %w", err)
	}
	for _, e := range expected {
		if _, known := d.texts[e.File]; !known {
			return nil, fmt.Errorf("EXPECTED.json: file %q is not in MANIFEST.tsv", e.File)
		}
		d.want[e.File] = e.Documents
	}

	text, err = os.ReadFile(filepath.Join(dir, "PARSED.jsonl"))
	if err != nil {
		return nil, err
	}
	scanner := bufio.NewScanner(bytes.NewReader(text))
	scanner.Buffer(nil, len(text)+1)
	for line := 1; scanner.Scan(); line++ {
		if len(bytes.TrimSpace(scanner.Bytes())) == 0 {
			continue
		}
		var entry struct {
			File   string          `json:"file"`
			Index  int             `json:"index"`
			Entity json.RawMessage `json:"entity"`
		}
		if err := json.Unmarshal(scanner.Bytes(), &entry); err != nil {
			return nil, fmt.Errorf("PARSED.jsonl line %d: %w", line, err)
		}
		value, err := jsonvalue.Parse(entry.Entity)
		if err != nil {
			return nil, fmt.Errorf("PARSED.jsonl line %d: %w", line, err)
		}
		if d.values[entry.File] == nil {
			d.values[entry.File] = map[int]any{}
		}
		d.values[entry.File][entry.Index] = value
	}
	return d, scanner.Err()
}

type deviationKey struct {
	file   string
	index  int
	aspect string
}

func (k deviationKey) String() string {
	return k.file + "#" + strconv.Itoa(k.index) + " " + k.aspect
}

func readExplained(file string) (map[deviationKey]string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	out := map[deviationKey]string{}
	for i, line := range strings.Split(string(text), "\n") {
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.SplitN(line, "\t", 4)
		if len(fields) != 4 {
			return nil, fmt.Errorf("%s line %d: expected file, index, aspect and reason, separated by tabs", file, i+1)
		}
		index, err := strconv.Atoi(fields[1])
		if err != nil {
			return nil, fmt.Errorf("%s line %d: index: %w", file, i+1, err)
		}
		out[deviationKey{fields[0], index, fields[2]}] = strings.TrimSpace(fields[3])
	}
	return out, nil
}
