package store

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"iter"
	"os"
	"slices"
)

// spool holds what a sequence yielded, so that the sequence is read once, and
// while it is read no transaction is open and no connection is taken. A small
// one is in memory, another in a temporary file without a name, which goes
// with the process.
type spool struct {
	count int
	ready []bool   // by number, as far as any is
	refs  []uint64 // hashes of them
	seed  maphash.Seed
	size  int64
	small bytes.Buffer
	file  *os.File
	out   *bufio.Writer
	head  []byte
	part  []byte // room for Ready.appendTo
}

const (
	// spoolMemory is up to how many bytes a spool is in memory.
	spoolMemory = 1 << 20
	// maxBody bounds one entity, in bytes of JSON.
	maxBody = 16 << 20
)

// newSpool reads a sequence.
func newSpool(ctx context.Context, entities iter.Seq2[Deferred, error]) (s *spool, err error) {
	s = &spool{seed: maphash.MakeSeed()}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
			s = nil
		}
	}()
	for d, err := range entities {
		if err != nil {
			return s, err
		}
		if err := ctx.Err(); err != nil {
			return s, err
		}
		if err := s.add(d); err != nil {
			return s, err
		}
	}
	if s.out != nil {
		if err := s.out.Flush(); err != nil {
			return s, s.problem("writing", err)
		}
	}
	return s, nil
}

func (s *spool) problem(doing string, err error) error {
	return fmt.Errorf("%s the temporary file of a full mutation (set TMPDIR to a folder with room): %w", doing, err)
}

func (s *spool) add(d Deferred) error {
	if len(d.Body) > maxBody {
		return fmt.Errorf("entity %s has %d bytes of JSON, more than %d", d.Ref, len(d.Body), maxBody)
	}
	s.head = s.head[:0]
	for _, part := range []string{d.Ref, d.Hash, d.LocationKey} {
		s.head = append(binary.AppendUvarint(s.head, uint64(len(part))), part...)
	}
	s.head, s.part = d.Ready.appendTo(s.head, s.part)
	s.head = binary.AppendUvarint(s.head, uint64(len(d.Body)))
	if d.Ready != nil {
		s.ready = append(s.ready, make([]bool, s.count-len(s.ready))...)
		s.ready = append(s.ready, true)
	}
	s.refs = append(s.refs, maphash.String(s.seed, d.Ref))
	s.count++
	s.size += int64(len(s.head) + len(d.Body))
	if s.out == nil && s.size > spoolMemory {
		file, err := os.CreateTemp("", "flytower-catalog-*") // mode 0600
		if err != nil {
			return s.problem("creating", err)
		}
		_ = os.Remove(file.Name()) // where the system allows it
		s.file, s.out = file, bufio.NewWriterSize(file, 64<<10)
		if _, err := s.small.WriteTo(s.out); err != nil {
			return s.problem("writing", err)
		}
		s.small = bytes.Buffer{}
	}
	var to io.Writer = &s.small
	if s.out != nil {
		to = s.out
	}
	if _, err := to.Write(s.head); err != nil {
		return s.problem("writing", err)
	}
	if _, err := io.WriteString(to, d.Body); err != nil {
		return s.problem("writing", err)
	}
	return nil
}

// parts are what is read of an entity.
type parts int

const (
	heads parts = iota // neither the body nor what is ready
	bodies
	relations // of what is ready, and the head
	everything
)

// entities yields what is in the spool, in order, and of each as much as is
// wanted; nil is the heads. It may be read any number of times.
func (s *spool) entities(wanted func(seq int) parts) iter.Seq2[Deferred, error] {
	return func(yield func(Deferred, error) bool) {
		var from io.Reader = bytes.NewReader(s.small.Bytes())
		if s.file != nil {
			from = io.NewSectionReader(s.file, 0, s.size)
		}
		in := spoolReader{in: bufio.NewReaderSize(from, 64<<10)}
		for seq := range s.count {
			want := heads
			if wanted != nil {
				want = wanted(seq)
			}
			d := in.deferred(want)
			if in.err != nil {
				yield(d, s.problem("reading", in.err))
				return
			}
			if !yield(d, nil) {
				return
			}
		}
	}
}

// distinct reports whether no two entities have the same ref. It may take two
// refs for the same, but hardly ever does.
func (s *spool) distinct() bool {
	sorted := slices.Clone(s.refs)
	slices.Sort(sorted)
	return len(slices.Compact(sorted)) == s.count
}

// isReady reports whether there is more of an entity than its body.
func (s *spool) isReady(seq int64) bool { return seq < int64(len(s.ready)) && s.ready[seq] }

// spoolReader reads what add wrote.
type spoolReader struct {
	in  *bufio.Reader
	err error
}

func (r *spoolReader) number() (n uint64) {
	if r.err == nil {
		n, r.err = binary.ReadUvarint(r.in)
	}
	return n
}

func (r *spoolReader) skip(n uint64) {
	if r.err == nil {
		_, r.err = r.in.Discard(int(n))
	}
}

func (r *spoolReader) text(wanted bool) string {
	n := r.number()
	if !wanted {
		r.skip(n)
		return ""
	}
	if r.err != nil {
		return ""
	}
	if n <= uint64(r.in.Size()) {
		var part []byte
		part, r.err = r.in.Peek(int(n))
		text := string(part)
		r.skip(n)
		return text
	}
	part := make([]byte, n)
	_, r.err = io.ReadFull(r.in, part)
	return string(part)
}

func (r *spoolReader) deferred(want parts) (d Deferred) {
	d.Ref, d.Hash, d.LocationKey = r.text(true), r.text(true), r.text(true)
	d.Ready = r.ready(want)
	d.Body = r.text(want == bodies || want == everything)
	return d
}

// appendTo appends what a spool keeps; nothing but a zero of nil. The length of
// all goes first, and then the relations, so that the rest can be skipped. It
// works in room, which it returns for the next time.
func (r *Ready) appendTo(dst, room []byte) (all, again []byte) {
	if r == nil {
		return append(dst, 0), room
	}
	out := room[:0]
	texts := func(parts ...string) {
		for _, part := range parts {
			out = append(binary.AppendUvarint(out, uint64(len(part))), part...)
		}
	}
	out = binary.AppendUvarint(out, uint64(len(r.relations)))
	for _, l := range r.relations {
		texts(l.source, l.kind, l.target)
	}
	dst = append(binary.AppendUvarint(append(dst, 1), uint64(len(out))), out...)
	out = out[:0]
	texts(r.uid, r.hash, r.cache, r.text, r.rows)
	out = binary.AppendUvarint(binary.AppendUvarint(out, uint64(r.etagAt)), uint64(r.relationsAt))
	return append(binary.AppendUvarint(dst, uint64(len(out))), out...), out
}

func (r *spoolReader) ready(want parts) *Ready {
	if r.number() == 0 || r.err != nil {
		return nil
	}
	var out Ready
	if p := (spooledPart{r.text(want == relations || want == everything)}); p.rest != "" {
		out.relations = make([]link, min(p.number(), uint64(len(p.rest))))
		for i := range out.relations {
			out.relations[i] = link{p.text(), p.text(), p.text()}
		}
	}
	if p := (spooledPart{r.text(want == everything)}); p.rest != "" {
		out.uid, out.hash, out.cache, out.text, out.rows = p.text(), p.text(), p.text(), p.text(), p.text()
		out.etagAt, out.relationsAt = int(p.number()), int(p.number())
	}
	return &out
}

// spooledPart is what is left of a part that was read as a whole.
type spooledPart struct{ rest string }

func (p *spooledPart) number() uint64 {
	n, size := binary.Uvarint([]byte(p.rest[:min(len(p.rest), binary.MaxVarintLen64)]))
	p.rest = p.rest[max(size, 0):]
	return n
}

func (p *spooledPart) text() string {
	n := min(p.number(), uint64(len(p.rest)))
	text := p.rest[:n]
	p.rest = p.rest[n:]
	return text
}

func (s *spool) close() error {
	if s.file == nil {
		return nil
	}
	name := s.file.Name()
	err := s.file.Close()
	if _, there := os.Lstat(name); there == nil {
		err = errors.Join(err, os.Remove(name)) // where an open file keeps its name
	}
	return err
}
