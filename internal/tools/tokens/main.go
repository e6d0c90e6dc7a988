// Tokens checks that backends of the reference and this one accept each
// other's tokens, with real software for Node on the other side.
//
//	go run ./internal/tools/tokens [-node PROGRAM] [-golden FILE] [-ours FILE] DIR
//
// DIR has node_modules with jose, @backstage/backend-defaults,
// @backstage/plugin-auth-backend and
// @backstage/plugin-auth-backend-module-guest-provider. Two pairs of backends
// are started, on free ports of this machine: in one pair users sign in here
// and the reference trusts that, in the other one it is the reverse. In each,
// users, cookies and plugins go from either side to the other. What this
// backend has issued is verified with jose besides, as are the tokens of -ours
// (internal/e2e/identity/testdata/ours.json).
//
// With -golden it does nothing but write the file of tokens that
// internal/e2e/identity expects as testdata/jose.json, made with jose.
//
// The exit code is 1 if something differs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
)

func main() {
	var o options
	flag.StringVar(&o.node, "node", "node", "`program` that runs JavaScript")
	flag.StringVar(&o.golden, "golden", "", "write tokens made with jose to the `file`, and do nothing else")
	flag.StringVar(&o.ours, "ours", "", "`file` with tokens of this backend, to be verified with jose")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: tokens [flags] DIR")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	o.dir = flag.Arg(0)
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	err := o.run(ctx)
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, "tokens:", err)
		os.Exit(1)
	}
}

type options struct{ dir, node, golden, ours string }

var errDiffers = errors.New("something differs; see above")

func (o options) run(ctx context.Context) error {
	scratch, err := os.MkdirTemp("", "tokens-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	n := node{program: o.node, dir: o.dir, scratch: scratch}
	if err := n.unpack(); err != nil {
		return err
	}
	if o.golden != "" {
		return n.golden(ctx, o.golden)
	}
	r := &report{}
	if o.ours != "" {
		if err := r.ours(ctx, n, o.ours); err != nil {
			return err
		}
	}
	if err := r.pairs(ctx, n); err != nil {
		return err
	}
	fmt.Printf("%d checks, %d failed\n", r.checks, r.failed)
	if r.failed > 0 {
		return errDiffers
	}
	return nil
}

// report counts what was compared.
type report struct{ checks, failed int }

func (r *report) same(what, want, got string) {
	r.checks++
	verdict := "ok  "
	if want != got {
		r.failed++
		verdict, got = "FAIL", got+", want "+want
	}
	fmt.Printf("%s %s: %s\n", verdict, what, got)
}
