package workspacearchive_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/flytower/flytower/plugins/scaffolder-node/workspacearchive"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var all workspacearchive.Limits

func open(t testing.TB, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// workspace makes a folder with everything that a workspace may have.
func workspace(t testing.TB) *os.Root {
	t.Helper()
	dir := t.TempDir()
	root := open(t, dir)
	must(t,
		root.MkdirAll("src/deep/er", 0o755), root.Mkdir("empty", 0o755), root.Mkdir("private", 0o700), root.Mkdir("read-only", 0o755),
		root.WriteFile("src/main.go", []byte("package main\n"), 0o644), root.WriteFile("run.sh", []byte("#!/bin/sh\n"), 0o755),
		root.WriteFile("src/deep/er/größe 你好", nil, 0o600), root.WriteFile("read-only/"+strings.Repeat("long", 50), []byte("x"), 0o444),
		root.WriteFile("src.go", bytes.Repeat([]byte("0123456789"), 50_000), 0o640),
		root.Symlink("../run.sh", "src/link"), root.Symlink("src/deep", "down"), root.Symlink("nowhere", "dangling"),
		root.Chmod("run.sh", 0o755), root.Chmod("read-only", 0o555),
	)
	t.Cleanup(func() { must(t, root.Chmod("read-only", 0o755)) })
	return root
}

func archive(t testing.TB, root *os.Root) []byte {
	t.Helper()
	var b bytes.Buffer
	must(t, workspacearchive.Write(t.Context(), &b, root, all))
	return b.Bytes()
}

// listing is what is below a folder.
func listing(t testing.TB, root *os.Root) map[string]string {
	t.Helper()
	found := map[string]string{}
	must(t, fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		info, err := entry.Info()
		must(t, err)
		text := info.Mode().String() + " "
		switch {
		case entry.Type() == fs.ModeSymlink:
			target, err := root.Readlink(name)
			must(t, err)
			text += target
		case !entry.IsDir():
			content, err := root.ReadFile(name)
			must(t, err)
			text += string(content)
		}
		found[name] = text
		return nil
	}))
	return found
}

func TestWhatIsRestoredIsWhatWasKept(t *testing.T) {
	t.Parallel()
	from := workspace(t)
	text := archive(t, from)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err := z.Write(text)
	must(t, err, z.Close())
	for name, stored := range map[string][]byte{"plain": text, "compressed": packed.Bytes()} {
		t.Run(name, func(t *testing.T) {
			to := open(t, t.TempDir())
			must(t, workspacearchive.Extract(t.Context(), iotest.OneByteReader(bytes.NewReader(stored)), to, all))
			t.Cleanup(func() { must(t, to.Chmod("read-only", 0o755)) })
			if diff := cmp.Diff(listing(t, from), listing(t, to)); diff != "" {
				t.Errorf("the restored workspace differs (-kept +restored):\n%s", diff)
			}
			if again := archive(t, to); !bytes.Equal(again, text) {
				t.Error("the archive of the restored workspace has other bytes")
			}
		})
	}
}

func TestTheDigestIsThatOfTheArchive(t *testing.T) {
	t.Parallel()
	root := workspace(t)
	want, err := workspacearchive.Digest(t.Context(), root, all)
	must(t, err)
	a := workspacearchive.Open(t.Context(), root, all)
	_, err = io.Copy(io.Discard, a)
	must(t, err, a.Close())
	if a.Digest() != want {
		t.Errorf("%s was read, not %s", a.Digest(), want)
	}
	for what, change := range map[string]func() error{
		"content":    func() error { return root.WriteFile("src/main.go", []byte("package men\n"), 0o644) },
		"permission": func() error { return root.Chmod("run.sh", 0o644) },
		"name":       func() error { return root.Rename("empty", "void") },
		"link":       func() error { return errors.Join(root.Remove("down"), root.Symlink("src", "down")) },
	} {
		must(t, change())
		got, err := workspacearchive.Digest(t.Context(), root, all)
		must(t, err)
		if got == want {
			t.Errorf("a changed %s changes no digest", what)
		}
		want = got
	}
}

func TestWhatMayLeadOutsideIsNotKept(t *testing.T) {
	t.Parallel()
	root := open(t, t.TempDir())
	must(t, root.MkdirAll("a/b", 0o755), root.Symlink("/etc/passwd", "absolute"), root.Symlink("../../x", "a/up"), root.Symlink("b/../../..", "a/around"),
		root.Symlink("../ok", "a/fine"), os.Link(write(t, "outside"), filepath.Join(root.Name(), "hard")), mkfifo(filepath.Join(root.Name(), "pipe")))
	var names []string
	for r := tar.NewReader(bytes.NewReader(archive(t, root))); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		names = append(names, h.Name+" "+string(h.Typeflag))
	}
	if diff := cmp.Diff([]string{"a/ 5", "a/b/ 5", "a/fine 2", "hard 0"}, names); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
}

func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(name, []byte(text), 0o600))
	return name
}

func TestLimits(t *testing.T) {
	t.Parallel()
	root := workspace(t)
	text := archive(t, root)
	for name, limits := range map[string]workspacearchive.Limits{"bytes": {Bytes: 500_000}, "entries": {Entries: 10}} {
		if err := workspacearchive.Write(t.Context(), io.Discard, root, limits); !errors.Is(err, workspacearchive.ErrTooLarge) {
			t.Errorf("%s, written: %v", name, err)
		}
		if err := workspacearchive.Extract(t.Context(), bytes.NewReader(text), open(t, t.TempDir()), limits); !errors.Is(err, workspacearchive.ErrTooLarge) {
			t.Errorf("%s, restored: %v", name, err)
		}
	}
	ctx, stop := context.WithCancelCause(t.Context())
	reason := errors.New("enough")
	stop(reason)
	a := workspacearchive.Open(ctx, root, all)
	if _, err := io.Copy(io.Discard, a); !errors.Is(err, reason) {
		t.Errorf("a cancelled archive: %v", err)
	}
	must(t, a.Close())
	if err := workspacearchive.Extract(ctx, bytes.NewReader(text), open(t, t.TempDir()), all); !errors.Is(err, reason) {
		t.Errorf("a cancelled restore: %v", err)
	}
}

func TestAnArchiveThatEndsEarly(t *testing.T) {
	t.Parallel()
	a := workspacearchive.Open(t.Context(), workspace(t), all)
	if _, err := a.Read(make([]byte, 600)); err != nil {
		t.Fatal(err)
	}
	must(t, a.Close()) // and nothing is left that reads
	text := archive(t, workspace(t))
	if err := workspacearchive.Extract(t.Context(), bytes.NewReader(text[:300_000]), open(t, t.TempDir()), all); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("half an archive: %v", err)
	}
	full := open(t, t.TempDir())
	must(t, full.WriteFile("old", nil, 0o600))
	if err := workspacearchive.Extract(t.Context(), bytes.NewReader(text), full, all); err == nil {
		t.Error("a folder with a file in it took an archive")
	}
}

// made returns an archive with entries as given.
func made(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Mode == 0 {
			h.Mode = 0o755
		}
		must(t, w.WriteHeader(&h))
		if h.Size > 0 {
			_, err := w.Write(make([]byte, h.Size))
			must(t, err)
		}
	}
	must(t, w.Close())
	return b.Bytes()
}

func TestArchivesAreNotTrusted(t *testing.T) {
	t.Parallel()
	link := func(name, target string) tar.Header {
		return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target}
	}
	for name, headers := range map[string][]tar.Header{
		"absolute":                   {{Name: "/tmp/x"}},
		"up":                         {{Name: "../x"}},
		"up and down again":          {{Name: "a/../x"}},
		"up in the middle":           {{Name: "a/../../x"}},
		"no name":                    {{Name: "./.", Typeflag: tar.TypeReg}},
		"hard link":                  {{Name: "a"}, {Name: "b", Typeflag: tar.TypeLink, Linkname: "a"}},
		"device":                     {{Name: "a", Typeflag: tar.TypeChar}},
		"pipe":                       {{Name: "a", Typeflag: tar.TypeFifo}},
		"link to an absolute path":   {link("a", "/etc")},
		"link that leads up":         {link("a", "..")},
		"link that leads up later":   {link("d/a", "../x/../../y")},
		"through a link":             {{Name: "d/", Typeflag: tar.TypeDir}, link("a", "d"), {Name: "a/x"}},
		"through a link, deep":       {{Name: "d/", Typeflag: tar.TypeDir}, link("a", "d"), {Name: "a/b/c/x"}},
		"file in place of a link":    {link("a", "b"), {Name: "a"}},
		"link in place of a folder":  {{Name: "d/x"}, link("d", "e")},
		"folder in place of a link":  {link("a", "b"), {Name: "a/", Typeflag: tar.TypeDir}},
		"file twice":                 {{Name: "a"}, {Name: "./a"}},
		"folder twice":               {{Name: "d/", Typeflag: tar.TypeDir}, {Name: "d", Typeflag: tar.TypeDir}},
		"in a file":                  {{Name: "a"}, {Name: "a/b"}},
		"deep":                       {{Name: strings.Repeat("d/", 300) + "x"}},
		"folder that is a file then": {{Name: "d/", Typeflag: tar.TypeDir}, {Name: "d"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			parent := t.TempDir()
			dir := filepath.Join(parent, "workspace")
			must(t, os.Mkdir(dir, 0o755))
			var refused *workspacearchive.RefusedError
			if err := workspacearchive.Extract(t.Context(), bytes.NewReader(made(t, headers...)), open(t, dir), all); !errors.As(err, &refused) {
				t.Errorf("it ended with %v", err)
			}
			if names, err := os.ReadDir(parent); err != nil || len(names) != 1 {
				t.Errorf("beside the workspace there is %v, %v", names, err)
			}
		})
	}
}

func TestArchivesOfOthers(t *testing.T) {
	t.Parallel()
	root := open(t, t.TempDir())
	text := made(t, tar.Header{Name: "./", Typeflag: tar.TypeDir}, tar.Header{Name: "./b/c/d", Mode: 0o4755}, tar.Header{Name: "b/", Typeflag: tar.TypeDir, Mode: 0o750},
		tar.Header{Name: "a", Typeflag: tar.TypeSymlink, Linkname: "b/c"})
	must(t, workspacearchive.Extract(t.Context(), bytes.NewReader(text), root, all))
	want := map[string]string{"b": "drwxr-x--- ", "b/c": "drwxr-xr-x ", "b/c/d": "-rwxr-xr-x ", "a": "Lrwxrwxrwx b/c"}
	if diff := cmp.Diff(want, listing(t, root)); diff != "" {
		t.Errorf("restored (-want +got):\n%s", diff)
	}
}

func FuzzExtract(f *testing.F) {
	f.Add(made(f, tar.Header{Name: "d/", Typeflag: tar.TypeDir}, tar.Header{Name: "d/größe", Size: 700}, tar.Header{Name: "run.sh", Mode: 0o700}))
	f.Add(made(f, tar.Header{Name: "../x"}))
	f.Add(made(f, tar.Header{Name: "d/", Typeflag: tar.TypeDir}, tar.Header{Name: "d/a", Typeflag: tar.TypeSymlink, Linkname: "../x"}, tar.Header{Name: "x", Size: 3}))
	f.Add([]byte{0x1f, 0x8b})
	f.Fuzz(func(t *testing.T, text []byte) {
		parent := t.TempDir()
		dir := filepath.Join(parent, "workspace")
		must(t, os.Mkdir(dir, 0o755))
		root := open(t, dir)
		t.Cleanup(func() { // so that the folder can be removed
			_ = filepath.WalkDir(dir, func(name string, entry fs.DirEntry, _ error) error {
				if entry != nil && entry.IsDir() {
					return os.Chmod(name, 0o700)
				}
				return nil
			})
		})
		err := workspacearchive.Extract(t.Context(), bytes.NewReader(text), root, workspacearchive.Limits{Bytes: 1 << 20, Entries: 50})
		if names, readErr := os.ReadDir(parent); readErr != nil || len(names) != 1 {
			t.Fatalf("beside the workspace there is %v, %v", names, readErr)
		}
		if err != nil {
			return
		}
		must(t, filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrPermission) || entry == nil {
				return nil
			}
			if entry.Type() == fs.ModeSymlink {
				rel, err := filepath.Rel(dir, name)
				must(t, err)
				if _, err := root.Stat(rel); err != nil && !errors.Is(err, fs.ErrNotExist) && !strings.Contains(err.Error(), "not a directory") && !strings.Contains(err.Error(), "too many") {
					t.Errorf("the link %s cannot be followed inside: %v", rel, err)
				}
			}
			return nil
		}))
	})
}
