package assets

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"time"
)

// piece is how much of a file is in memory while it is sent, in bytes.
const piece = 256 << 10

// selectPiece reads a piece of a file that has the length that it had.
var selectPiece = fmt.Sprintf(`SELECT substr(content, $3, %d)
	FROM static_assets_cache WHERE namespace = $1 AND path = $2 AND length(content) = $4`, piece)

// file reads a file from the table, piece by piece. It implements
// [frontend.KeptFile].
type file struct {
	ctx     context.Context // of the request that reads it
	db      *sql.DB
	query   string
	args    []any // namespace, path
	size    int64
	modTime time.Time

	at      int64  // where to read on
	piece   []byte // what was read ahead
	pieceAt int64  // where that is
	err     error
}

// ModTime returns when the file was last part of a bundle.
func (f *file) ModTime() time.Time { return f.modTime }

// Err returns the error that ended reading early, if one did.
func (f *file) Err() error { return f.err }

// Read implements [io.Reader].
func (f *file) Read(p []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	if f.at >= f.size {
		return 0, io.EOF
	}
	if f.at < f.pieceAt || f.at >= f.pieceAt+int64(len(f.piece)) {
		if f.err = f.load(); f.err != nil {
			return 0, f.err
		}
	}
	n := copy(p, f.piece[f.at-f.pieceAt:])
	f.at += int64(n)
	return n, nil
}

func (f *file) load() error {
	f.piece, f.pieceAt = f.piece[:0], f.at
	args := append(f.args[:2:2], f.at+1, f.size)
	if err := f.db.QueryRowContext(f.ctx, f.query, args...).Scan(&f.piece); err != nil {
		return fmt.Errorf("read a static file that is kept: %w", err)
	}
	if len(f.piece) == 0 {
		return io.ErrUnexpectedEOF
	}
	return nil
}

// Seek implements [io.Seeker].
func (f *file) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += f.at
	case io.SeekEnd:
		offset += f.size
	}
	if offset < 0 {
		return 0, errors.New("assets: seek before the beginning of a file")
	}
	f.at = offset
	return offset, nil
}
