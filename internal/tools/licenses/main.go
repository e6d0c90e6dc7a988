// Command licenses lists the licences of all modules that the packages of
// this repository are built from, on any platform: docs/THIRD_PARTY.md names
// them, THIRD_PARTY_LICENSES.txt has their texts.
//
//	go run ./internal/tools/licenses          # write both files
//	go run ./internal/tools/licenses -check   # fail if they are not current
package main

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const (
	listFile = "docs/THIRD_PARTY.md"
	textFile = "THIRD_PARTY_LICENSES.txt"
)

func main() {
	check := flag.Bool("check", false, "fail if the files are not current, and write nothing")
	flag.Parse()
	if err := run(".", *check); err != nil {
		fmt.Fprintln(os.Stderr, "licenses: "+err.Error())
		os.Exit(1)
	}
}

// run writes or checks the files below dir, the folder of the main module.
func run(dir string, check bool) error {
	modules, err := linked(dir)
	if err != nil {
		return err
	}
	for name, want := range map[string][]byte{listFile: list(modules), textFile: texts(modules)} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if !check {
			if err := os.WriteFile(path, want, 0o644); err != nil {
				return fmt.Errorf("writing the licences: %w", err)
			}
			continue
		}
		got, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("checking the licences: %w", err)
		}
		if !bytes.Equal(bytes.ReplaceAll(got, []byte("\r\n"), []byte("\n")), want) {
			return fmt.Errorf("%s is not current; run go run ./internal/tools/licenses", name)
		}
	}
	return nil
}

// module is a module that is built in.
type module struct {
	path, version string
	spdx          []string
	files         []file
}

// file is a licence or a notice.
type file struct {
	name string
	text string
}

// linked returns the modules that some package is built from on some platform,
// sorted by path.
func linked(dir string) ([]module, error) {
	found := map[string]module{}
	for _, system := range []string{"linux", "darwin", "windows"} {
		cmd := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}\t{{.Version}}\t{{.Dir}}{{end}}{{end}}", "./...")
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+system, "GOARCH=amd64", "GOFLAGS=-mod=readonly")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("listing the modules for %s: %w\n%s", system, err, stderr.Bytes())
		}
		for line := range strings.Lines(string(out)) {
			parts := strings.Split(strings.TrimSpace(line), "\t")
			if len(parts) != 3 {
				continue
			}
			if _, ok := found[parts[0]]; ok {
				continue
			}
			m := module{path: parts[0], version: parts[1]}
			if err := m.read(parts[2]); err != nil {
				return nil, err
			}
			found[m.path] = m
		}
	}
	var out []module
	for _, path := range slices.Sorted(maps.Keys(found)) {
		out = append(out, found[path])
	}
	return out, nil
}

// read takes in the licences from the folder of the module.
func (m *module) read(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("reading the licences of %s: %w", m.path, err)
	}
	for _, e := range entries {
		kind, ok := kindOf(e.Name())
		if !ok || e.IsDir() {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return fmt.Errorf("reading the licences of %s: %w", m.path, err)
		}
		clean := strings.TrimSpace(strings.ReplaceAll(string(text), "\r\n", "\n"))
		m.files = append(m.files, file{e.Name(), clean})
		if kind == "licence" {
			m.spdx = append(m.spdx, identify(clean)...)
		}
	}
	slices.Sort(m.spdx)
	m.spdx = slices.Compact(m.spdx)
	if len(m.spdx) == 0 {
		return fmt.Errorf("no known licence in %s %s (%s); look at it, and teach internal/tools/licenses its text", m.path, m.version, dir)
	}
	return nil
}

// kindOf tells what a file at the top of a module is.
func kindOf(name string) (kind string, ok bool) {
	upper := strings.ToUpper(name)
	switch {
	case strings.HasSuffix(upper, ".GO"):
		return "", false
	case strings.HasPrefix(upper, "LICENSE"), strings.HasPrefix(upper, "LICENCE"), strings.HasPrefix(upper, "COPYING"), strings.HasPrefix(upper, "UNLICENSE"):
		return "licence", !strings.HasSuffix(upper, "-LOGO")
	case strings.HasPrefix(upper, "NOTICE"):
		return "notice", true
	default:
		return "", false
	}
}

// list returns the table.
func list(modules []module) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Third-party modules\n\nAll modules that packages of this repository are built from, with the SPDX ids of\n"+
		"their licences, for the library and for the tests. The texts are in [%s](../%s).\n"+
		"The Go standard library has the licence of `golang.org/x/sys`.\n\n"+
		"`go run ./internal/tools/licenses` writes both files; a test checks that they are current.\n\n"+
		"| Module | Version | Licence |\n|---|---|---|\n", textFile, textFile)
	for _, m := range modules {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", m.path, m.version, strings.Join(m.spdx, ", "))
	}
	return b.Bytes()
}

// texts returns each text once, below the modules that it is of.
func texts(modules []module) []byte {
	var order []string
	users := map[string][]string{}
	for _, m := range modules {
		for _, f := range m.files {
			if users[f.text] == nil {
				order = append(order, f.text)
			}
			users[f.text] = append(users[f.text], fmt.Sprintf("%s %s (%s)", m.path, m.version, f.name))
		}
	}
	var b bytes.Buffer
	b.WriteString("Licences and notices of the modules that Flytower is built from.\nWritten by internal/tools/licenses; see docs/THIRD_PARTY.md for the list.\n")
	for _, text := range order {
		b.WriteString("\n" + strings.Repeat("=", 78) + "\n")
		for _, u := range users[text] {
			b.WriteString(u + "\n")
		}
		b.WriteString(strings.Repeat("-", 78) + "\n" + text + "\n")
	}
	return b.Bytes()
}
