package ownprocess

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/flytower/flytower/apierr"
)

const (
	// version is that of the messages. Both sides are the same program, so it
	// only guards against a program that was replaced in between.
	version = 1
	// maxMessage bounds a message, in bytes.
	maxMessage = 64 << 20
)

// message is what goes over the socket; one of its parts is set.
type message struct {
	Hello  *hello  `json:"hello,omitempty"`  // to the child, first
	Cancel *string `json:"cancel,omitempty"` // to the child: why
	Call   *call   `json:"call,omitempty"`   // to the parent
	Answer *answer `json:"answer,omitempty"` // to the child
	End    *answer `json:"end,omitempty"`    // to the parent, last
}

type hello struct {
	Version        int
	Plugin, Errand string
	Config         map[string]any
	Input          json.RawMessage
}

type call struct {
	ID     int64           `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params,omitempty"`
}

type answer struct {
	ID     int64           `json:"id,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  *wireError      `json:"error,omitempty"`
}

// wireError is an error with its name.
type wireError struct {
	Name    string `json:"name"`
	Message string `json:"message"`
}

func toWire(err error) *wireError {
	if err == nil {
		return nil
	}
	return &wireError{string(apierr.KindOf(err)), err.Error()}
}

func (e *wireError) err() error {
	if e == nil {
		return nil
	}
	return apierr.New(apierr.Kind(e.Name), "%s", e.Message)
}

// answerOf makes the answer of a result or an error.
func answerOf(id int64, result any, err error) *answer {
	if err != nil {
		return &answer{ID: id, Error: toWire(err)}
	}
	raw, err := json.Marshal(result)
	if err != nil {
		return &answer{ID: id, Error: toWire(fmt.Errorf("write the answer: %w", err))}
	}
	return &answer{ID: id, Result: raw}
}

// channel passes messages over a connection.
type channel struct {
	conn io.ReadWriteCloser
	mu   sync.Mutex // of writes
}

var errTooLong = fmt.Errorf("a message is longer than %d MB", maxMessage>>20)

func (c *channel) write(m message) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if len(text) > maxMessage {
		return errTooLong
	}
	frame := append(binary.BigEndian.AppendUint32(make([]byte, 0, len(text)+4), uint32(len(text))), text...) //nolint:gosec // it was compared
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err = c.conn.Write(frame)
	return err
}

func (c *channel) read() (m message, err error) {
	var head [4]byte
	if _, err := io.ReadFull(c.conn, head[:]); err != nil {
		return m, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxMessage {
		return m, errTooLong
	}
	text, err := io.ReadAll(io.LimitReader(c.conn, int64(n))) // grows with what comes, not with what is announced
	if err == nil && len(text) < int(n) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return m, errors.New("a message is no JSON") // without the text, which may have secrets
	}
	return m, nil
}
