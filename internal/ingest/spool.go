package ingest

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"iter"
	"os"

	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
)

// maxEntity bounds one entity of a source, in bytes of JSON.
const maxEntity = 16 << 20

// spool is a temporary file of entities, each behind its length.
type spool struct {
	file   *os.File
	out    *bufio.Writer
	buf    []byte
	counts map[string]int
}

func newSpool() (*spool, error) {
	f, err := os.CreateTemp("", "flytower-ingest-*") // mode 0600
	if err != nil {
		return nil, fmt.Errorf("creating a temporary file for the entities of the source: %w", err)
	}
	// Where the system allows it, the file goes with the process, however that
	// ends.
	_ = os.Remove(f.Name())
	return &spool{file: f, out: bufio.NewWriterSize(f, 64<<10), counts: map[string]int{}}, nil
}

func (s *spool) add(e catalogcommon.Entity) error {
	e, err := catalogcommon.NormalizeEntity(e)
	if err != nil {
		return err
	}
	s.buf = e.AppendJSON(append(s.buf[:0], 0, 0, 0, 0))
	n := len(s.buf) - 4
	if n > maxEntity {
		return fmt.Errorf("entity %s has %d bytes, more than %d", e.Ref(), n, maxEntity)
	}
	binary.BigEndian.PutUint32(s.buf, uint32(n))
	if _, err := s.out.Write(s.buf); err != nil {
		return fmt.Errorf("writing the entities of the source to %s: %w", s.file.Name(), err)
	}
	s.counts[e.Kind()]++
	return nil
}

func (s *spool) finish() error {
	if err := s.out.Flush(); err != nil {
		return fmt.Errorf("writing the entities of the source to %s: %w", s.file.Name(), err)
	}
	return nil
}

// all returns the entities. It may be read more than once, one at a time.
func (s *spool) all() iter.Seq2[catalogcommon.Entity, error] {
	return func(yield func(catalogcommon.Entity, error) bool) {
		if _, err := s.file.Seek(0, io.SeekStart); err != nil {
			yield(nil, s.broken(err))
			return
		}
		in := bufio.NewReaderSize(s.file, 64<<10)
		var buf []byte
		for {
			var head [4]byte
			if _, err := io.ReadFull(in, head[:]); err == io.EOF {
				return
			} else if err != nil {
				yield(nil, s.broken(err))
				return
			}
			n := binary.BigEndian.Uint32(head[:])
			if n > maxEntity {
				yield(nil, s.broken(fmt.Errorf("a length of %d bytes", n)))
				return
			}
			if uint32(cap(buf)) < n {
				buf = make([]byte, n)
			}
			buf = buf[:n]
			if _, err := io.ReadFull(in, buf); err != nil {
				yield(nil, s.broken(err))
				return
			}
			e, err := catalogcommon.ParseEntity(buf)
			if err != nil {
				yield(nil, s.broken(err))
				return
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (s *spool) broken(err error) error {
	return fmt.Errorf("reading back the entities of the source from %s: %w", s.file.Name(), err)
}

func (s *spool) remove() {
	_ = s.file.Close()
	_ = os.Remove(s.file.Name())
}
