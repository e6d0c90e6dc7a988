package store

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
)

// spool holds what a sequence yielded, so that the sequence is read once, and
// while it is read no transaction is open and no connection is taken. A small
// one is in memory, another in a temporary file without a name, which goes
// with the process.
type spool struct {
	count int
	size  int64
	small bytes.Buffer
	file  *os.File
	out   *bufio.Writer
	head  []byte
}

const (
	// spoolMemory is up to how many bytes a spool is in memory.
	spoolMemory = 1 << 20
	// maxBody bounds one entity, in bytes of JSON.
	maxBody = 16 << 20
)

// newSpool reads a sequence.
func newSpool(ctx context.Context, entities iter.Seq2[Deferred, error]) (s *spool, err error) {
	s = &spool{}
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
	s.head = binary.AppendUvarint(s.head, uint64(len(d.Body)))
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

// entities yields what is in the spool, in order; bodies only of those that
// are wanted, which is nil for none. It may be read any number of times.
func (s *spool) entities(wanted func(seq int) bool) iter.Seq2[Deferred, error] {
	return func(yield func(Deferred, error) bool) {
		var from io.Reader = bytes.NewReader(s.small.Bytes())
		if s.file != nil {
			from = io.NewSectionReader(s.file, 0, s.size)
		}
		in := bufio.NewReaderSize(from, 64<<10)
		for seq := range s.count {
			d, err := readDeferred(in, wanted != nil && wanted(seq))
			if err != nil {
				yield(d, s.problem("reading", err))
				return
			}
			if !yield(d, nil) {
				return
			}
		}
	}
}

func readDeferred(in *bufio.Reader, body bool) (d Deferred, err error) {
	read := func(to *string, skip bool) {
		if err != nil {
			return
		}
		var n uint64
		if n, err = binary.ReadUvarint(in); err != nil {
			return
		}
		if skip {
			_, err = in.Discard(int(n))
			return
		}
		part := make([]byte, n)
		_, err = io.ReadFull(in, part)
		*to = string(part)
	}
	read(&d.Ref, false)
	read(&d.Hash, false)
	read(&d.LocationKey, false)
	read(&d.Body, !body)
	return d, err
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
