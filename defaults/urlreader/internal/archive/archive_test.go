package archive_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/defaults/urlreader/internal/archive"
)

// member of an archive under test; kind 0 is a file.
type member struct {
	name, body string
	kind       byte
	link       string
	mode       int64
}

func tarOf(t testing.TB, members ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		h := &tar.Header{Name: m.name, Typeflag: m.kind, Linkname: m.link, Mode: m.mode, ModTime: time.Unix(1e9, 0)}
		switch m.kind {
		case 0:
			h.Typeflag, h.Size = tar.TypeReg, int64(len(m.body))
		case tar.TypeXGlobalHeader:
			h = &tar.Header{Typeflag: m.kind, Name: m.name, PAXRecords: map[string]string{"comment": "commit"}}
		}
		if h.Mode == 0 && m.kind != tar.TypeXGlobalHeader {
			h.Mode = 0o644
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if m.kind == 0 {
			if _, err := io.WriteString(w, m.body); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gz(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zipOf(t testing.TB, members ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, m := range members {
		h := &zip.FileHeader{Name: m.name, Method: zip.Deflate, Modified: time.Unix(1e9, 0)}
		mode, body := os.FileMode(0o644), m.body
		if m.mode != 0 {
			mode = os.FileMode(m.mode) //nolint:gosec // a literal of the test
		}
		switch m.kind {
		case tar.TypeSymlink:
			mode, body = os.ModeSymlink|0o777, m.link
		case tar.TypeFifo:
			mode = os.ModeNamedPipe | 0o644
		case tar.TypeChar:
			mode = os.ModeDevice | os.ModeCharDevice | 0o644
		}
		if !strings.HasSuffix(m.name, "/") {
			h.SetMode(mode)
		}
		f, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(f, body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// contents reads a tree into a map.
func contents(t *testing.T, tree *archive.Tree) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, f := range tree.Files() {
		rc, err := tree.Open(f)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(rc)
		if err != nil {
			t.Fatal(err)
		}
		if int64(len(b)) != f.Size {
			t.Errorf("%s has %d bytes, and says %d", f.Path, len(b), f.Size)
		}
		out[f.Path] = string(b)
	}
	return out
}

func leftovers(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

var repository = []member{
	{name: "pax_global_header", kind: tar.TypeXGlobalHeader},
	{name: "shop-abc/", kind: tar.TypeDir},
	{name: "shop-abc/README.md", body: "read"},
	{name: "shop-abc/docs/index.md", body: "index"},
	{name: "shop-abc/docs/sub/deep.md", body: "deep"},
	{name: "shop-abc/docsy/no.md", body: "no"},
	{name: "shop-abc/docs/run.sh", body: "#!", mode: 0o755},
	{name: "shop-abc/docs/link.md", kind: tar.TypeSymlink, link: "sub/deep.md"},
	{name: "shop-abc/docs/link2.md", kind: tar.TypeSymlink, link: "./link.md"},
}

func TestUnpack(t *testing.T) {
	t.Parallel()
	withoutGlobal := repository[1:]
	zipped := append([]member{{name: "shop-abc/"}}, repository[2:]...)
	for name, data := range map[string][]byte{
		"tar": tarOf(t, repository...), "tar.gz": gz(t, tarOf(t, withoutGlobal...)), "zip": zipOf(t, zipped...),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			tree, err := archive.Unpack(t.Context(), bytes.NewReader(data), archive.Options{Dir: dir, Strip: 1, Subpath: "docs"})
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]string{"index.md": "index", "sub/deep.md": "deep", "run.sh": "#!", "link.md": "deep", "link2.md": "deep"}
			if diff := cmp.Diff(want, contents(t, tree)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			out := t.TempDir()
			if err := tree.WriteTo(t.Context(), out); err != nil {
				t.Fatal(err)
			}
			info, err := os.Lstat(filepath.Join(out, "run.sh"))
			if err != nil || info.Mode().Perm()&0o100 == 0 {
				t.Errorf("run.sh: %v, %v", info, err)
			}
			if info, err := os.Lstat(filepath.Join(out, "link.md")); err != nil || !info.Mode().IsRegular() {
				t.Errorf("link.md: %v, %v", info, err)
			}
			if got := leftovers(t, dir); len(got) != 1 {
				t.Errorf("in the working directory: %v", got)
			}
			first := tree.Files()[0]
			if err := tree.Close(); err != nil {
				t.Error(err)
			}
			if err := tree.Close(); err != nil {
				t.Errorf("closing twice: %v", err)
			}
			if got := leftovers(t, dir); len(got) != 0 {
				t.Errorf("left in the working directory: %v", got)
			}
			if _, err := tree.Open(first); err == nil {
				t.Error("a file of a closed tree opens")
			}
		})
	}
}

func TestFilterAndDuplicates(t *testing.T) {
	t.Parallel()
	data := tarOf(t, member{name: "r/a.md", body: "old"}, member{name: "r/b.txt", body: "x"}, member{name: "r/a.md", body: "newer"})
	var seen []string
	tree, err := archive.Unpack(t.Context(), bytes.NewReader(data), archive.Options{Dir: t.TempDir(), Strip: 1, Filter: func(p string, size int64) bool {
		seen = append(seen, p)
		return strings.HasSuffix(p, ".md") && size > 0
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	if diff := cmp.Diff(map[string]string{"a.md": "newer"}, contents(t, tree)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"a.md", "b.txt", "a.md"}, seen); diff != "" {
		t.Error(diff)
	}
}

// What has no business in a tree is left out, and the rest is there.
func TestLeftOut(t *testing.T) {
	t.Parallel()
	attacks := []member{
		{name: "r/ok", body: "ok"},
		{name: "r/up", kind: tar.TypeSymlink, link: "../../etc/passwd"},
		{name: "r/abs", kind: tar.TypeSymlink, link: "/etc/passwd"},
		{name: "r/dir", kind: tar.TypeSymlink, link: "."},
		{name: "r/self", kind: tar.TypeSymlink, link: "self"},
		{name: "r/loop1", kind: tar.TypeSymlink, link: "loop2"},
		{name: "r/loop2", kind: tar.TypeSymlink, link: "loop1"},
		{name: "r/nowhere", kind: tar.TypeSymlink, link: "missing"},
		{name: "r/fifo", kind: tar.TypeFifo},
		{name: "r/char", kind: tar.TypeChar},
	}
	for name, data := range map[string][]byte{
		"tar": tarOf(t, append(attacks, member{name: "r/hard", kind: tar.TypeLink, link: "/etc/passwd"}, member{name: "r/block", kind: tar.TypeBlock})...),
		"zip": zipOf(t, attacks...),
	} {
		tree, err := archive.Unpack(t.Context(), bytes.NewReader(data), archive.Options{Dir: t.TempDir(), Strip: 1})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(map[string]string{"ok": "ok"}, contents(t, tree)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		tree.Close()
	}
}

// A file below a name that a link took before cannot follow the link: no name
// of the archive is on disk, and WriteTo makes directories of its own.
func TestFileThroughLink(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	data := tarOf(t, member{name: "r/d", kind: tar.TypeSymlink, link: outside}, member{name: "r/d/f", body: "x"})
	tree, err := archive.Unpack(t.Context(), bytes.NewReader(data), archive.Options{Dir: t.TempDir(), Strip: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	clean, prepared := t.TempDir(), t.TempDir()
	if err := tree.WriteTo(t.Context(), clean); err != nil {
		t.Error(err)
	}
	if err := os.Symlink(outside, filepath.Join(prepared, "d")); err != nil {
		t.Fatal(err)
	}
	if err := tree.WriteTo(t.Context(), prepared); err == nil {
		t.Error("a file was written through a link in the target")
	}
	if got := leftovers(t, outside); len(got) != 0 {
		t.Errorf("outside: %v", got)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"../evil", "r/../../evil", "/etc/cron.d/evil", `..\evil`, `C:\evil`, `r/..\..\evil`, "r/a\x00b", "r/" + strings.Repeat("x/", 2100) + "f"} {
		for kind, data := range map[string][]byte{"tar": rawTar(name), "zip": zipOf(t, member{name: name, body: "x"})} {
			if kind == "tar" && len(name) > 99 {
				continue // rawTar writes short names only
			}
			if kind == "tar" && strings.Contains(name, "\x00") {
				continue // ends the field of the header
			}
			dir := t.TempDir()
			_, err := archive.Unpack(t.Context(), bytes.NewReader(data), archive.Options{Dir: dir, Strip: 1})
			if apierr.KindOf(err) != apierr.KindInput {
				t.Errorf("%s with %.20q: %v", kind, name, err)
			}
			if got := leftovers(t, dir); len(got) != 0 {
				t.Errorf("left in the working directory: %v", got)
			}
		}
	}
}

// rawTar writes a name that a well-behaved writer would refuse.
func rawTar(name string) []byte {
	h := make([]byte, 512)
	copy(h, name)
	copy(h[100:], "0000644\x00")
	copy(h[108:], "0000000\x00")
	copy(h[116:], "0000000\x00")
	copy(h[124:], "00000000001\x00")
	copy(h[136:], "07346545000\x00")
	h[156] = '0'
	copy(h[257:], "ustar\x0000")
	copy(h[148:], "        ")
	sum := 0
	for _, b := range h {
		sum += int(b)
	}
	copy(h[148:], octal(sum)+"\x00 ")
	body := make([]byte, 512)
	body[0] = 'x'
	return append(append(h, body...), make([]byte, 1024)...)
}

func octal(n int) string {
	var b [6]byte
	for i := 5; i >= 0; i-- {
		b[i] = byte('0' + n&7)
		n >>= 3
	}
	return string(b[:])
}

func TestBombs(t *testing.T) {
	t.Parallel()
	zeros := strings.Repeat("\x00", 20<<20)
	many := make([]member, 300)
	for i := range many {
		many[i] = member{name: "r/" + strings.Repeat("x", i+1), body: "y"}
	}
	lying := zipOf(t, member{name: "r/f", body: zeros})
	for _, c := range []struct {
		name   string
		data   []byte
		limits archive.Limits
	}{
		{"ratio of tar.gz", gz(t, tarOf(t, member{name: "r/f", body: zeros})), archive.Limits{}},
		{"ratio of zip", lying, archive.Limits{}},
		{"skipped members count", gz(t, tarOf(t, member{name: "other", body: zeros})), archive.Limits{}},
		{"one file", tarOf(t, member{name: "r/f", body: zeros[:5000]}), archive.Limits{FileBytes: 4999}},
		{"one file of a zip", zipOf(t, member{name: "r/f", body: zeros[:5000]}), archive.Limits{FileBytes: 4999}},
		{"all files", zipOf(t, member{name: "r/f", body: strings.Repeat("ab", 200<<10)}, member{name: "r/g", body: strings.Repeat("cd", 200<<10)}), archive.Limits{UnpackedBytes: 300 << 10}},
		{"members", tarOf(t, many...), archive.Limits{Members: 299}},
		{"members of a zip", zipOf(t, many...), archive.Limits{Members: 299}},
		{"archive", tarOf(t, many...), archive.Limits{ArchiveBytes: 10 << 10}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			_, err := archive.Unpack(t.Context(), bytes.NewReader(c.data), archive.Options{Dir: dir, Strip: 1, Limits: c.limits})
			if apierr.KindOf(err) != apierr.KindPayloadTooLarge {
				t.Errorf("%v", err)
			}
			if got := leftovers(t, dir); len(got) != 0 {
				t.Errorf("left in the working directory: %v", got)
			}
		})
	}
}

// A member that unpacks to more than it says does not get past the limits.
func TestZipThatLies(t *testing.T) {
	t.Parallel()
	data := zipOf(t, member{name: "r/f", body: strings.Repeat("x", 1<<20)})
	patched := bytes.ReplaceAll(data, []byte{0, 0, 0x10, 0}, []byte{1, 0, 0, 0}) // 1 MiB, little endian
	if bytes.Equal(data, patched) {
		t.Fatal("the size was not found")
	}
	_, err := archive.Unpack(t.Context(), bytes.NewReader(patched), archive.Options{Dir: t.TempDir(), Strip: 1, Limits: archive.Limits{FileBytes: 1000}})
	if err == nil {
		t.Error("unpacked")
	}
}

func TestBrokenStreams(t *testing.T) {
	t.Parallel()
	whole := gz(t, tarOf(t, repository[1:]...))
	boom := errors.New("connection reset")
	for name, c := range map[string]struct {
		r    io.Reader
		kind apierr.Kind
	}{
		"ends early":   {bytes.NewReader(whole[:len(whole)-40]), apierr.KindServiceUnavailable},
		"breaks":       {io.MultiReader(bytes.NewReader(whole[:50]), iotestErr{boom}), apierr.KindServiceUnavailable},
		"not archive":  {strings.NewReader(strings.Repeat("<html>sign in</html>", 200)), apierr.KindInput},
		"zip in name":  {strings.NewReader("PK\x03\x04 and nothing more"), apierr.KindInput},
		"gzip in name": {strings.NewReader("\x1f\x8b\xff\xff and nothing more"), apierr.KindInput},
		"no subpath":   {bytes.NewReader(whole), apierr.KindNotFound},
	} {
		dir := t.TempDir()
		_, err := archive.Unpack(t.Context(), c.r, archive.Options{Dir: dir, Strip: 1, Subpath: "missing"})
		if apierr.KindOf(err) != c.kind {
			t.Errorf("%s: %v (%s), want %s", name, err, apierr.KindOf(err), c.kind)
		}
		if got := leftovers(t, dir); len(got) != 0 {
			t.Errorf("left in the working directory: %v", got)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := archive.Unpack(ctx, bytes.NewReader(whole), archive.Options{Dir: t.TempDir()}); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
	if _, err := archive.Unpack(t.Context(), bytes.NewReader(whole), archive.Options{Dir: filepath.Join(t.TempDir(), "missing")}); err == nil {
		t.Error("without a working directory: no error")
	}
}

type iotestErr struct{ err error }

func (r iotestErr) Read([]byte) (int, error) { return 0, r.err }

func FuzzCleanName(f *testing.F) {
	for _, s := range []string{"a/b", "../a", "a/../../b", "/a", `a\..\b`, "./a//b/", "C:\\x", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		clean, err := archive.CleanName(name)
		if err != nil || clean == "" {
			return
		}
		if !filepath.IsLocal(clean) || strings.HasPrefix(clean, "/") || strings.HasSuffix(clean, "/") {
			t.Errorf("CleanName(%q) = %q", name, clean)
		}
	})
}

func FuzzUnpack(f *testing.F) {
	f.Add(tarOf(f, repository...))
	f.Add(gz(f, tarOf(f, repository[1:]...)))
	f.Add(zipOf(f, repository[2:]...))
	f.Add(rawTar("../evil"))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		tree, err := archive.Unpack(t.Context(), bytes.NewReader(data), archive.Options{
			Dir: dir, Strip: 1, Limits: archive.Limits{UnpackedBytes: 1 << 20, FileBytes: 1 << 20, Members: 100},
		})
		if err == nil {
			for _, file := range tree.Files() {
				if !filepath.IsLocal(file.Path) {
					t.Errorf("the tree has %q", file.Path)
				}
			}
			if err := tree.Close(); err != nil {
				t.Error(err)
			}
		}
		if got := leftovers(t, dir); len(got) != 0 {
			t.Errorf("left in the working directory: %v", got)
		}
	})
}
