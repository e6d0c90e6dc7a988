// Formschemas writes what the npm package jsonschema, which the reference
// checks forms with, says of many schemas and values: the answers that package
// formschema of the scaffolder is compared with.
//
//	go run ./internal/tools/formschemas [-node PROGRAM] DIR plugins/scaffolder-backend/internal/formschema/testdata/reference.jsonl.gz
//
// DIR has node_modules with jsonschema. The schemas and values are the same in
// each run.
package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	_ "embed"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
)

//go:embed check.cjs
var script []byte

func main() {
	node := flag.String("node", "node", "`program` that runs JavaScript")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: formschemas [flags] DIR FILE")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 2 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, *node, flag.Arg(0), flag.Arg(1))
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, "formschemas:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, node, dir, file string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	cases := corpus()
	var input bytes.Buffer
	for _, c := range cases {
		fmt.Fprintf(&input, "[%s,%s]\n", c.schema, c.value)
	}
	cmd := exec.CommandContext(ctx, node, "-e", string(script), dir)
	cmd.Stdin, cmd.Stderr = &input, os.Stderr
	answers, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s: %w", node, err)
	}
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	return write(out, cases, answers)
}

// write closes the file.
func write(out io.WriteCloser, cases []example, answers []byte) (err error) {
	defer func() {
		if closed := out.Close(); err == nil {
			err = closed
		}
	}()
	packed, err := gzip.NewWriterLevel(out, gzip.BestCompression)
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(bytes.NewReader(answers))
	lines.Buffer(nil, 1<<24)
	n := 0
	for ; lines.Scan(); n++ {
		if _, err := fmt.Fprintf(packed, `{"schema":%s,"value":%s,"answer":%s}`+"\n", cases[n].schema, cases[n].value, lines.Bytes()); err != nil {
			return err
		}
	}
	if n != len(cases) {
		return fmt.Errorf("there are %d answers for %d cases", n, len(cases))
	}
	return packed.Close()
}
