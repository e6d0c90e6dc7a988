// Package exchange is the form in which recorded answers of the reference
// backend are kept and compared: one request and its normalised answer per
// line of a file.
//
//	recorded, err := exchange.Read(file)
//	…
//	got := recorded[0].Normalise(answer, places)
//	diff := cmp.Diff(recorded[0].Response, got)
//
// Normalised is what differs from run to run: ids, times, tokens, cursors,
// etags, where the servers and the input files are, and the wording of error
// messages, which is free.
package exchange

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// Exchange is a request with the answer that the reference gave.
type Exchange struct {
	Name  string `json:"name"`
	Group string `json:"group"`
	// Note says what is special about it.
	Note     string   `json:"note,omitempty"`
	Request  Request  `json:"request"`
	Response Response `json:"response"`
	// Capture names values of the answer, by a path such as
	// "body.location.id"; "link.after" or "redirectUrl.code" for a parameter of
	// the URL of the Link header or of that member of the body; "location.last"
	// for the last segment of the Location header. Later requests have {{name}}
	// in their place, or {{name|uri}} where it is to be encoded for a URL.
	Capture map[string]string `json:"capture,omitempty"`
	// Poll says that the answer is reached only after a while.
	Poll bool `json:"poll,omitempty"`
	// Unordered are paths of arrays whose order is free; * is any member. They
	// are sorted in Response.
	Unordered []string `json:"unordered,omitempty"`
	// Ignore are paths of values that are not compared; ** is any depth.
	Ignore []string `json:"ignore,omitempty"`
}

// Request is what is sent. Texts have {{name}} for values of other answers,
// and for inputDir, files (the address of the server with files), and the
// tokens staticToken, restrictedToken and userToken.
type Request struct {
	Method  string            `json:"method"`
	Path    string            `json:"path"`
	Headers map[string]string `json:"headers,omitempty"`
	Body    json.RawMessage   `json:"body,omitempty"` // a JSON string is sent as text
}

// Response is a normalised answer.
type Response struct {
	Status  int            `json:"status"`
	Headers map[string]any `json:"headers,omitempty"` // a string, or a list of strings
	Body    any            `json:"body"`
}

// Read reads the lines of a file.
func Read(r io.Reader) ([]Exchange, error) {
	var all []Exchange
	lines := bufio.NewReader(r)
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			var x Exchange
			if err := json.Unmarshal(line, &x); err != nil {
				return nil, fmt.Errorf("line %d: %w", n, err)
			}
			all = append(all, x)
		}
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// Write writes one line per exchange.
func Write(w io.Writer, all []Exchange) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for _, x := range all {
		if err := enc.Encode(x); err != nil {
			return fmt.Errorf("%s: %w", x.Name, err)
		}
	}
	return nil
}
