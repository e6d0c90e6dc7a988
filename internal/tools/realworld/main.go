// Realworld measures the entity model against catalog files that people wrote
// and the verdicts of the reference backend about them.
//
//	go run ./internal/tools/realworld [-explained FILE] DIR
//
// DIR holds
//   - files/: the texts
//   - MANIFEST.tsv: one line per file under a header line; the first column is
//     the file name
//   - EXPECTED.json: [{file, documents: [{result, ref?, kind?, apiVersion?, message?}]}]
//     where result is ok, parse-error, policy-error, kind-error or no-builtin-kind
//   - PARSED.jsonl: {file, index, entity}: the JSON value of each document that parses
//
// FILE lists deviations that are accepted, one per line: file, index of the
// document, aspect (verdict, value or message) and reason, separated by tabs.
//
// It prints totals and every deviation. The exit code is 1 if there is a
// deviation that the list does not explain, and 2 if the data cannot be read.
//
// The templates among the files can be tried out, which prints a table:
//
//	go test ./internal/tools/realworld -run TestTemplates -v -args -templates DIR
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("realworld", flag.ContinueOnError)
	flags.SetOutput(stderr)
	explainedFile := flags.String("explained", "", "`file` with accepted deviations")
	flags.Usage = func() {
		fmt.Fprintln(stderr, "usage: realworld [-explained FILE] DIR")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	if flags.NArg() != 1 {
		flags.Usage()
		return 2
	}
	data, err := readDataSet(flags.Arg(0))
	if err != nil {
		fmt.Fprintln(stderr, "realworld:", err)
		return 2
	}
	explained := map[deviationKey]string{}
	if *explainedFile != "" {
		if explained, err = readExplained(*explainedFile); err != nil {
			fmt.Fprintln(stderr, "realworld:", err)
			return 2
		}
	}
	report := compare(data)
	unexplained := report.print(stdout, explained)
	if unexplained > 0 {
		return 1
	}
	return 0
}

// print writes the report and returns the number of unexplained deviations.
func (r *report) print(w io.Writer, explained map[deviationKey]string) int {
	fmt.Fprintf(w, "files %d, documents %d, values compared %d\n", r.files, r.documents, r.values)
	for _, verdict := range slices.Sorted(maps.Keys(r.verdicts)) {
		fmt.Fprintf(w, "  %-16s %d\n", verdict, r.verdicts[verdict])
	}
	unexplained := 0
	for _, d := range r.deviations {
		reason, ok := explained[d.key]
		if ok {
			fmt.Fprintf(w, "explained %s: %s (%s)\n", d.key, d.detail, reason)
			continue
		}
		unexplained++
		fmt.Fprintf(w, "DEVIATION %s: %s\n", d.key, d.detail)
	}
	fmt.Fprintf(w, "deviations %d, unexplained %d\n", len(r.deviations), unexplained)
	return unexplained
}
