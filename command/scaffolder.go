package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing/fstest"

	"github.com/rogpeppe/go-internal/diff"

	"github.com/flytower/flytower"
	"github.com/flytower/flytower/defaults/rootconfig"
	"github.com/flytower/flytower/internal/templatedryrun"
)

type scaffolderCommand struct {
	DryRun dryRunCommand `cmd:"" help:"Run a template from a file, without a server and without changing anything: 0 it ran, 1 something is wrong, 2 it made other files than those of --diff."`
}

type dryRunCommand struct {
	Template   string `arg:"" placeholder:"TEMPLATE" help:"File with the template, beside what it fetches by relative paths."`
	Parameters string `short:"p" placeholder:"FILE" help:"YAML or JSON file with the values of the form. Fields that it leaves out have the defaults of the form."`

	Secret []string `placeholder:"NAME=VALUE" sep:"none" help:"Secret of the form; may be repeated. NAME alone takes the value from the environment variable NAME, where others do not see it."`
	User   string   `placeholder:"REF" help:"Who runs the template: user:default/jane, or jane."`
	Diff   string   `placeholder:"DIR" help:"Print how the files differ from those of a folder."`
	Out    string   `placeholder:"DIR" help:"Write the files into a folder, which must be new or empty."`
	JSON   bool     `name:"json" help:"Print one JSON document: problems or error, log, output, files and diff."`
	configFlags
}

// The exit codes of a dry run, beside 0.
const (
	exitWrong   = 1 // a problem with template or parameters, or a failed step
	exitDiffers = 2 // other files than those of --diff
)

// dryRunReport is what --json prints.
type dryRunReport struct {
	templatedryrun.Result
	Files []madeFile `json:"files,omitempty"`
	Diff  string     `json:"diff,omitempty"`
}

// madeFile is a file that a template made.
type madeFile struct {
	Path       string `json:"path"`
	Size       int64  `json:"size"`
	Executable bool   `json:"executable,omitempty"`
	// Link is where a symbolic link leads.
	Link string `json:"link,omitempty"`
}

// Run implements the command.
func (c *dryRunCommand) Run(ctx context.Context, a *App) error {
	secrets, err := c.secrets()
	if err != nil {
		return err
	}
	if c.Out != "" {
		if err := vacant(a.path(c.Out)); err != nil {
			return err
		}
	}
	config, err := c.config(a)
	if err != nil {
		return err
	}
	var report dryRunReport
	request := templatedryrun.Request{
		Template: a.path(c.Template), Secrets: secrets, User: c.User,
		Workspace: func(workspace *os.Root) error { return c.collect(a, workspace, &report) },
	}
	if c.Parameters != "" {
		request.Parameters = a.path(c.Parameters)
	}
	if !c.JSON {
		request.Log = func(line templatedryrun.Line) { c.line(a, line) }
	}
	result, err := flytower.Errand{Plugin: "scaffolder", Name: templatedryrun.Errand, With: request}.Do(ctx, config, a.Features...)
	if err != nil {
		return err
	}
	var ok bool
	if report.Result, ok = result.(templatedryrun.Result); !ok {
		return fmt.Errorf("the scaffolder answered with %T", result)
	}
	c.relative(a, report.Problems)
	if err := c.write(a, report); err != nil {
		return err
	}
	switch {
	case len(report.Problems) > 0 || report.Error != "":
		return &reported{exitWrong}
	case report.Diff != "":
		return &reported{exitDiffers}
	}
	return nil
}

// relative gives files of problems the names that the user gave.
func (c *dryRunCommand) relative(a *App, problems []templatedryrun.Problem) {
	for i := range problems {
		if rel, err := filepath.Rel(a.Dir, problems[i].File); a.Dir != "" && err == nil && filepath.IsLocal(rel) && filepath.IsAbs(problems[i].File) {
			problems[i].File = rel
		}
	}
}

func (c *dryRunCommand) secrets() (map[string]string, error) {
	secrets := map[string]string{}
	for _, text := range c.Secret {
		name, value, given := strings.Cut(text, "=")
		if !given {
			if value, given = os.LookupEnv(name); !given {
				return nil, fmt.Errorf("--secret %s: there is no environment variable %s; set it, or write %s=value", name, name, name)
			}
		}
		secrets[name] = value
	}
	return secrets, nil
}

// config is that of the files, or an empty one where there is none.
func (c *dryRunCommand) config(a *App) (rootconfig.Options, error) {
	o := c.options(a)
	if len(c.Config) > 0 {
		return o, nil
	}
	_, err := os.Stat(filepath.Join(a.Dir, "app-config.yaml"))
	if errors.Is(err, fs.ErrNotExist) {
		o.FS = fstest.MapFS{"app-config.yaml": &fstest.MapFile{Data: []byte("backend: {}\n")}}
		o.Dir, err = "", nil
	}
	return o, err
}

// vacant reports an error unless a folder is new or empty.
func vacant(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("--out: %w", err)
	case len(entries) > 0:
		return fmt.Errorf("--out: the folder %s is not empty; name a new one", dir)
	}
	return nil
}

// collect lists the files of a workspace, compares them and writes them.
func (c *dryRunCommand) collect(a *App, workspace *os.Root, report *dryRunReport) error {
	var err error
	if report.Files, err = filesIn(workspace); err != nil {
		return err
	}
	if c.Diff != "" {
		if report.Diff, err = compare(a.path(c.Diff), workspace, report.Files); err != nil {
			return err
		}
	}
	if c.Out != "" {
		return writeOut(a.path(c.Out), workspace, report.Files)
	}
	return nil
}

// filesIn returns the files below a root, but for those of .git.
func filesIn(root *os.Root) (files []madeFile, err error) {
	err = fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			if entry.Name() == ".git" {
				return fs.SkipDir
			}
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		file := madeFile{Path: name, Size: info.Size(), Executable: info.Mode().IsRegular() && info.Mode()&0o111 != 0}
		if info.Mode()&fs.ModeSymlink != 0 {
			if file.Link, err = root.Readlink(name); err != nil {
				return err
			}
		}
		files = append(files, file)
		return nil
	})
	return files, err
}

// compare returns how the files of a workspace differ from those of a folder;
// "" if they do not.
func compare(dir string, workspace *os.Root, made []madeFile) (string, error) {
	old, err := os.OpenRoot(dir)
	if err != nil {
		return "", fmt.Errorf("--diff: %w", err)
	}
	defer old.Close()
	there, err := filesIn(old)
	if err != nil {
		return "", fmt.Errorf("--diff: %w", err)
	}
	before, after := map[string]madeFile{}, map[string]madeFile{}
	for _, f := range there {
		before[f.Path] = f
	}
	for _, f := range made {
		after[f.Path] = f
	}
	all := maps.Clone(before)
	maps.Copy(all, after)
	var text strings.Builder
	for _, name := range sortedKeys(all) {
		b, err := content(old, before, name)
		if err != nil {
			return "", fmt.Errorf("--diff: %w", err)
		}
		n, err := content(workspace, after, name)
		if err != nil {
			return "", err
		}
		text.WriteString(difference(b, n, name))
	}
	return text.String(), nil
}

// side is a file on one side of a comparison.
type side struct {
	there bool
	text  []byte
	mode  string
}

func content(root *os.Root, files map[string]madeFile, name string) (s side, err error) {
	file, ok := files[name]
	if !ok {
		return s, nil
	}
	s.there = true
	switch {
	case file.Link != "":
		s.mode, s.text = "link", []byte(file.Link+"\n")
	case file.Executable:
		s.mode = "executable"
		fallthrough
	default:
		s.text, err = root.ReadFile(name)
	}
	return s, err
}

// difference is in the form of diff -u.
func difference(b, n side, name string) string {
	from, to := "a/"+name, "b/"+name
	if !b.there {
		from = "/dev/null"
	}
	if !n.there {
		to = "/dev/null"
	}
	var text strings.Builder
	if b.there && n.there && b.mode != n.mode {
		fmt.Fprintf(&text, "%s: was %s, is %s\n", name, plainIfEmpty(b.mode), plainIfEmpty(n.mode))
	}
	switch {
	case b.there == n.there && slices.Equal(b.text, n.text):
	case strings.Contains(string(b.text), "\x00") || strings.Contains(string(n.text), "\x00"):
		fmt.Fprintf(&text, "Binary files %s and %s differ\n", from, to)
	case len(b.text) == 0 && len(n.text) == 0:
		fmt.Fprintf(&text, "--- %s\n+++ %s\n", from, to)
	default:
		lines := string(diff.Diff(from, b.text, to, n.text))
		if _, rest, ok := strings.Cut(lines, "\n"); ok { // without the line of the command
			lines = rest
		}
		text.WriteString(lines)
	}
	return text.String()
}

func plainIfEmpty(mode string) string {
	if mode == "" {
		return "a plain file"
	}
	return mode
}

// writeOut copies the files of a workspace. Links are kept as they are.
func writeOut(dir string, workspace *os.Root, files []madeFile) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	out, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	defer out.Close()
	for _, f := range files {
		if err := out.MkdirAll(filepath.Dir(f.Path), 0o755); err != nil {
			return fmt.Errorf("--out: %w", err)
		}
		if f.Link != "" {
			if err := out.Symlink(f.Link, f.Path); err != nil {
				return fmt.Errorf("--out: %w", err)
			}
			continue
		}
		text, err := workspace.ReadFile(f.Path)
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if f.Executable {
			mode = 0o755
		}
		if err := out.WriteFile(f.Path, text, mode); err != nil {
			return fmt.Errorf("--out: %w", err)
		}
	}
	return nil
}

// line prints a line of the log.
func (c *dryRunCommand) line(a *App, l templatedryrun.Line) {
	text := strings.ReplaceAll(strings.TrimRight(l.Message, "\n"), "\n", "\n    ")
	if l.Step != "" {
		text = "[" + l.Step + "] " + text
	}
	fmt.Fprintln(a.Stdout, text)
}

// write prints the report.
func (c *dryRunCommand) write(a *App, r dryRunReport) error {
	if c.JSON {
		text, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.Stdout, "%s\n", text)
		return err
	}
	for _, p := range r.Problems {
		fmt.Fprintln(a.Stderr, problemText(p))
	}
	if len(r.Problems) > 0 {
		return nil
	}
	if r.Error != "" {
		fmt.Fprintln(a.Stderr, r.Error)
		return nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\nFiles (%d):\n", len(r.Files))
	tree(&b, r.Files)
	b.WriteString("\nOutput:\n")
	if err := indent(&b, r.Output); err != nil {
		return err
	}
	switch {
	case r.Diff != "":
		b.WriteString("\nDifferences:\n" + r.Diff)
	case c.Diff != "":
		b.WriteString("\nNo differences.\n")
	}
	_, err := fmt.Fprint(a.Stdout, b.String())
	return err
}

func problemText(p templatedryrun.Problem) string {
	text := p.File
	if p.Line > 0 {
		text = fmt.Sprintf("%s:%d", text, p.Line)
	}
	if p.Key != "" {
		text += ": " + p.Key
	}
	return text + ": " + p.Problem
}

func indent(b *strings.Builder, raw json.RawMessage) error {
	var text bytes.Buffer
	err := json.Indent(&text, raw, "  ", "  ")
	fmt.Fprintf(b, "  %s\n", text.String())
	return err
}

// tree prints files with their folders, indented.
func tree(b *strings.Builder, files []madeFile) {
	var open []string
	for _, f := range files {
		parts := strings.Split(f.Path, "/")
		folders := parts[:len(parts)-1]
		same := 0
		for same < len(folders) && same < len(open) && folders[same] == open[same] {
			same++
		}
		for i := same; i < len(folders); i++ {
			fmt.Fprintf(b, "  %s%s/\n", strings.Repeat("  ", i), folders[i])
		}
		open = folders
		note := ""
		switch {
		case f.Link != "":
			note = " -> " + f.Link
		case f.Executable:
			note = "*"
		}
		fmt.Fprintf(b, "  %s%s%s\n", strings.Repeat("  ", len(folders)), parts[len(parts)-1], note)
	}
}
