// Package archive unpacks archives that came over the network into one file
// on disk, from which their members are read.
//
//	tree, err := archive.Unpack(ctx, resp.Body, archive.Options{Dir: dir, Subpath: "docs"})
//	if err != nil { … }
//	defer tree.Close()
//	for _, f := range tree.Files() { … }
//
// Members are never written under their own names until [Tree.WriteTo], which
// is confined to its directory. So no name in an archive reaches the file
// system here. An archive with a name that would leave the tree is refused as
// a whole; devices, pipes, hard links and symbolic links that lead out of the
// tree, or to anything but a file in it, are left out. A link to a file of the
// tree becomes that file.
//
// The size of the archive, of every member and of all together, the number of
// members, and the ratio of compression are bounded.
package archive

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/flytower/flytower/apierr"
)

// Limits bound what is unpacked. The zero value of each is its default.
type Limits struct {
	// ArchiveBytes of the archive itself; as UnpackedBytes.
	ArchiveBytes int64
	// UnpackedBytes of all members; 512 MiB.
	UnpackedBytes int64
	// FileBytes of one member; 100 MiB.
	FileBytes int64
	// Members of the archive, kept or not; 200000.
	Members int
	// Ratio of unpacked to packed bytes once 16 MiB are unpacked; 250.
	Ratio int64
}

func (l *Limits) setDefaults() {
	def := func(n *int64, v int64) {
		if *n <= 0 {
			*n = v
		}
	}
	def(&l.UnpackedBytes, 512<<20)
	def(&l.ArchiveBytes, l.UnpackedBytes)
	def(&l.FileBytes, 100<<20)
	def(&l.Ratio, 250)
	if l.Members <= 0 {
		l.Members = 200_000
	}
}

// ratioFrom is where the ratio of compression begins to count, in bytes.
const ratioFrom = 16 << 20

// Options choose what is unpacked.
type Options struct {
	// Dir is an existing directory for the file that holds the members; ""
	// is the directory of the system for temporary files.
	Dir string
	// Strip is the number of leading directories that every name loses;
	// members with no more segments are left out.
	Strip int
	// Subpath is the directory, after stripping, that becomes the root. It is
	// a not-found error if the archive has nothing below it.
	Subpath string
	// Filter keeps a file by its path below Subpath; nil keeps all.
	Filter func(path string, size int64) bool
	Limits Limits
}

// File is a member.
type File struct {
	// Path is below the root of the tree, with slashes.
	Path     string
	Size     int64
	Modified time.Time
	// Executable tells whether the owner may run it.
	Executable bool

	at int64
}

// Unpack reads a tar archive, plain or compressed with gzip, or a zip archive.
// Exceeded limits are payload-too-large errors, malformed archives input
// errors, and a stream that ends early is a service-unavailable error.
func Unpack(ctx context.Context, r io.Reader, o Options) (*Tree, error) {
	o.Limits.setDefaults()
	if o.Dir == "" {
		o.Dir = os.TempDir()
	}
	// The prefix is that of the family, so that cleaners know it.
	spool, err := os.CreateTemp(o.Dir, "backstage-tree-*")
	if err != nil {
		return nil, fmt.Errorf("making a file for a tree in the working directory: %w", err)
	}
	u := &unpacker{
		ctx: ctx, o: o, tree: &Tree{spool: spool}, byPath: map[string]int{}, out: bufio.NewWriterSize(spool, 256<<10),
	}
	if err := u.unpack(r); err != nil {
		_ = u.tree.Close()
		return nil, err
	}
	return u.tree, nil
}

type unpacker struct {
	ctx    context.Context //nolint:containedctx // lives for one call of Unpack
	o      Options
	tree   *Tree
	byPath map[string]int // full stripped path → index of the file
	links  []link
	out    *bufio.Writer
	at     int64 // bytes written
	packed *counter
	// members counts all, total is what was unpacked, kept or not.
	members  int
	total    int64
	anything bool // a member lies below the subpath
}

type link struct{ full, target string }

func (u *unpacker) unpack(r io.Reader) error {
	u.packed = &counter{r: r, ctx: u.ctx, max: u.o.Limits.ArchiveBytes}
	br := bufio.NewReaderSize(u.packed, 64<<10)
	magic, err := br.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return u.explain(err)
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		gz, err := gzip.NewReader(br)
		if err != nil {
			return u.explain(err)
		}
		err = u.tar(&watched{r: gz, u: u})
		if err != nil {
			return u.explain(err)
		}
	case bytes.HasPrefix(magic, []byte("PK")):
		if err := u.zip(br); err != nil {
			return u.explain(err)
		}
	default:
		if err := u.tar(&watched{r: br, u: u}); err != nil {
			return u.explain(err)
		}
	}
	return u.finish()
}

// explain gives the errors of the decoders the name that callers decide on.
func (u *unpacker) explain(err error) error {
	var known *apierr.Error
	switch {
	case u.ctx.Err() != nil:
		return context.Cause(u.ctx)
	case errors.As(err, &known):
		return err
	case errors.Is(err, tar.ErrHeader), errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum),
		errors.Is(err, zip.ErrFormat), errors.Is(err, zip.ErrAlgorithm), errors.Is(err, zip.ErrChecksum),
		errors.Is(err, tar.ErrFieldTooLong):
		return apierr.Input("the archive is malformed: %w", err)
	case u.packed.err != nil || errors.Is(err, io.ErrUnexpectedEOF):
		return apierr.ServiceUnavailable("the archive broke off: %w", err)
	default:
		return fmt.Errorf("unpacking an archive: %w", err)
	}
}

// counter counts and bounds the packed bytes, and ends with the context.
type counter struct {
	r   io.Reader
	ctx context.Context //nolint:containedctx // lives for one call of Unpack
	n   int64
	max int64
	err error // of the source, other than its end
}

func (c *counter) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.r.Read(p)
	c.n += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		c.err = err
	}
	if c.n > c.max {
		return n, tooLarge("the archive has more than %d bytes", c.max)
	}
	return n, err
}

// watched bounds the unpacked bytes, skipped members and headers included.
type watched struct {
	r io.Reader
	u *unpacker
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if lerr := w.u.grow(int64(n)); lerr != nil {
		return n, lerr
	}
	return n, err
}

func (u *unpacker) grow(n int64) error {
	u.total += n
	// Headers and padding of tar are no content, but are bounded with it.
	slack := int64(u.members+16) * 4096
	if u.total > u.o.Limits.UnpackedBytes+slack {
		return tooLarge("the archive unpacks to more than %d bytes", u.o.Limits.UnpackedBytes)
	}
	if u.total > ratioFrom && u.total/max(u.packed.n, 1) > u.o.Limits.Ratio {
		return tooLarge("the archive is compressed more than %d to 1", u.o.Limits.Ratio)
	}
	return nil
}

func (u *unpacker) count() error {
	if u.members++; u.members > u.o.Limits.Members {
		return tooLarge("the archive has more than %d members", u.o.Limits.Members)
	}
	return nil
}

func tooLarge(format string, args ...any) error {
	return apierr.New(apierr.KindPayloadTooLarge, format, args...)
}

func (u *unpacker) tar(r io.Reader) error {
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := u.count(); err != nil {
			return err
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue // git writes its commit here
		}
		full, below, err := u.place(h.Name)
		if err != nil {
			return err
		}
		switch h.Typeflag {
		case tar.TypeReg, tar.TypeGNUSparse:
			f := File{Path: below, Size: h.Size, Modified: h.ModTime, Executable: h.Mode&0o100 != 0}
			if err := u.keep(full, f, func() (io.ReadCloser, error) { return io.NopCloser(tr), nil }); err != nil {
				return err
			}
		case tar.TypeSymlink:
			u.link(full, h.Linkname)
		}
	}
}

func (u *unpacker) zip(br io.Reader) error {
	// The directory of a zip archive is at its end.
	packed, err := os.CreateTemp(u.o.Dir, "backstage-zip-*")
	if err != nil {
		return fmt.Errorf("making a file for an archive in the working directory: %w", err)
	}
	defer func() {
		_ = packed.Close()
		_ = os.Remove(packed.Name())
	}()
	size, err := io.Copy(packed, br)
	if err != nil {
		return err
	}
	zr, err := zip.NewReader(packed, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return err
	}
	for _, m := range zr.File {
		if err := u.count(); err != nil {
			return err
		}
		if strings.Contains(m.Name, `\`) {
			return badName(m.Name, "it has a backslash")
		}
		full, below, err := u.place(m.Name)
		if err != nil {
			return err
		}
		mode := m.Mode()
		open := func() (io.ReadCloser, error) {
			rc, err := m.Open()
			if err != nil {
				return nil, err
			}
			return struct {
				io.Reader
				io.Closer
			}{&watched{r: rc, u: u}, rc}, nil
		}
		switch {
		case mode.IsRegular() && !strings.HasSuffix(m.Name, "/"):
			if m.UncompressedSize64 > uint64(u.o.Limits.UnpackedBytes) {
				return tooLarge("the member %q has more than %d bytes", below, u.o.Limits.UnpackedBytes)
			}
			f := File{Path: below, Size: int64(m.UncompressedSize64), Modified: m.Modified, Executable: mode&0o100 != 0} //nolint:gosec // checked above
			if err := u.keep(full, f, open); err != nil {
				return err
			}
		case mode&os.ModeSymlink != 0 && m.UncompressedSize64 < 4096:
			rc, err := open()
			if err != nil {
				return err
			}
			target, err := io.ReadAll(io.LimitReader(rc, 4096))
			_ = rc.Close()
			if err != nil {
				return err
			}
			u.link(full, string(target))
		}
	}
	return nil
}

// place returns the path of a member after stripping, and the part of it
// below the subpath; both are empty for what lies elsewhere.
func (u *unpacker) place(name string) (full, below string, err error) {
	clean, err := CleanName(name)
	if err != nil {
		return "", "", err
	}
	parts := strings.Split(clean, "/")
	if clean == "" || len(parts) <= u.o.Strip {
		return "", "", nil
	}
	full = strings.Join(parts[u.o.Strip:], "/")
	return full, u.below(full), nil
}

func (u *unpacker) below(full string) string {
	sub := strings.Trim(u.o.Subpath, "/")
	if sub == "" {
		return full
	}
	rest, ok := strings.CutPrefix(full, sub+"/")
	if !ok {
		return ""
	}
	return rest
}

// CleanName returns the name of a member without leading "./" and trailing
// slashes. A name that is absolute, climbs out, or that another system would
// read differently is an input error.
func CleanName(name string) (string, error) {
	switch {
	case strings.IndexByte(name, 0) >= 0:
		return "", badName(name, "it has a null byte")
	case strings.HasPrefix(name, "/"):
		return "", badName(name, "it is absolute")
	case len(name) > 4096:
		return "", badName(name[:64]+"…", "it is longer than 4096 bytes")
	case len(name) > 1 && name[1] == ':' && (name[0]|0x20) >= 'a' && (name[0]|0x20) <= 'z' && strings.HasPrefix(name[2:], `\`):
		return "", badName(name, "it is absolute")
	}
	if slices.Contains(strings.FieldsFunc(name, func(r rune) bool { return r == '/' || r == '\\' }), "..") {
		return "", badName(name, `it has a ".." segment`)
	}
	clean := path.Clean(name)
	if clean == "." {
		return "", nil
	}
	return clean, nil
}

func badName(name, why string) error {
	return apierr.Input("the archive has a member named %q, which is refused: %s", name, why)
}

// keep writes a file to the spool if it is wanted.
func (u *unpacker) keep(full string, f File, open func() (io.ReadCloser, error)) error {
	if f.Path == "" {
		return nil
	}
	u.anything = true
	if u.o.Filter != nil && !u.o.Filter(f.Path, f.Size) {
		return nil
	}
	if f.Size > u.o.Limits.FileBytes {
		return tooLarge("the file %q of the archive has %d bytes, more than %d", f.Path, f.Size, u.o.Limits.FileBytes)
	}
	rc, err := open()
	if err != nil {
		return err
	}
	defer rc.Close() //nolint:errcheck // read only
	n, err := io.Copy(u.out, io.LimitReader(rc, u.o.Limits.FileBytes+1))
	if err != nil {
		return err
	}
	if n > u.o.Limits.FileBytes {
		return tooLarge("the file %q of the archive has more than %d bytes", f.Path, u.o.Limits.FileBytes)
	}
	f.Size, f.at = n, u.at
	u.at += n
	u.add(full, f)
	return nil
}

// add keeps the last of several members with one name, as tar does.
func (u *unpacker) add(full string, f File) {
	if i, ok := u.byPath[full]; ok {
		u.tree.files[i] = f
		return
	}
	u.byPath[full] = len(u.tree.files)
	u.tree.files = append(u.tree.files, f)
}

func (u *unpacker) link(full, target string) {
	if full == "" || target == "" || path.IsAbs(target) || strings.ContainsAny(target, "\x00\\") {
		return
	}
	to := path.Join(path.Dir(full), target)
	if to == ".." || strings.HasPrefix(to, "../") {
		return
	}
	u.links = append(u.links, link{full, to})
}

// finish resolves links, and checks that there is a tree.
func (u *unpacker) finish() error {
	if err := u.out.Flush(); err != nil {
		return fmt.Errorf("writing a tree to the working directory: %w", err)
	}
	// A link may lead to a link; a few rounds are enough for honest trees.
	for range 4 {
		rest := u.links[:0:0]
		for _, l := range u.links {
			i, ok := u.byPath[l.target]
			below := u.below(l.full)
			if !ok || below == "" {
				rest = append(rest, l)
				continue
			}
			if _, taken := u.byPath[l.full]; taken {
				continue
			}
			f := u.tree.files[i]
			f.Path = below
			if u.o.Filter == nil || u.o.Filter(f.Path, f.Size) {
				u.add(l.full, f)
			}
		}
		if len(rest) == len(u.links) {
			break
		}
		u.links = rest
	}
	if !u.anything && u.o.Subpath != "" && len(u.tree.files) == 0 {
		return apierr.NotFound("there is no directory %q in the repository", u.o.Subpath)
	}
	slices.SortFunc(u.tree.files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return nil
}
