// Command test is the one command that tests this repository: it installs
// what the tests need where that is missing, checks format and vet, and runs
// all tests with the race detector, on SQLite and on PostgreSQL.
//
//	go run ./internal/tools/test            # everything
//	go run ./internal/tools/test ./backend  # some packages
//
// On Debian and its relatives, run as root, it installs a C compiler (the
// race detector is linked with one) and PostgreSQL; elsewhere it says what to
// install.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "test: "+err.Error())
		os.Exit(1)
	}
}

func run(packages []string) error {
	if len(packages) == 0 {
		packages = []string{"./..."}
	}
	if err := requirements(); err != nil {
		return err
	}
	if err := formatted(); err != nil {
		return err
	}
	fmt.Println("== go vet")
	if err := goTool(append([]string{"vet"}, packages...)...); err != nil {
		return fmt.Errorf("go vet: %w", err)
	}
	fmt.Println("== go test -race")
	args := append([]string{"test", "-race", "-timeout=20m"}, packages...)
	if err := goTool(args...); err != nil {
		return fmt.Errorf("go test: %w", err)
	}
	fmt.Println("== all checks passed")
	return nil
}

// requirement is a program that tests need.
type requirement struct {
	what    string
	there   func() bool
	packets []string // of Debian
}

func requirements() error {
	var missing []requirement
	for _, r := range []requirement{
		{"a C compiler, for the race detector", func() bool { return found("gcc") || found("clang") || runtime.GOOS != "linux" }, []string{"gcc", "libc6-dev"}},
		{"git, with its HTTP backend", func() bool { return found("git") }, []string{"git"}},
		{"the PostgreSQL server programs (initdb, postgres)", postgres, []string{"postgresql"}},
	} {
		if !r.there() {
			missing = append(missing, r)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	var names, packets []string
	for _, m := range missing {
		names, packets = append(names, m.what), append(packets, m.packets...)
	}
	if os.Getuid() != 0 || !found("apt-get") {
		return fmt.Errorf("the tests need %s; install them (Debian packages: %s), or name a PostgreSQL server in FLYTOWER_TEST_POSTGRES",
			strings.Join(names, " and "), strings.Join(packets, " "))
	}
	fmt.Println("== installing " + strings.Join(packets, " "))
	for _, args := range [][]string{{"update", "-q"}, append([]string{"install", "-q", "-y", "--no-install-recommends"}, packets...)} {
		cmd := exec.Command("apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get %s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	for _, m := range missing {
		if !m.there() {
			return fmt.Errorf("%s is still missing after the installation of %s", m.what, strings.Join(m.packets, " "))
		}
	}
	return nil
}

func found(program string) bool {
	_, err := exec.LookPath(program)
	return err == nil
}

func postgres() bool {
	if os.Getenv("FLYTOWER_TEST_POSTGRES") != "" || found("initdb") {
		return true
	}
	servers, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	return err == nil && len(servers) > 0
}

// formatted checks what git tracks, or all files outside of a checkout.
func formatted() error {
	fmt.Println("== gofmt")
	out, err := exec.Command("gofmt", "-l", ".").CombinedOutput()
	if err != nil {
		return fmt.Errorf("gofmt: %w\n%s", err, out)
	}
	if files := bytes.TrimSpace(out); len(files) > 0 {
		return errors.New("these files are not formatted; run gofmt -w on them:\n" + string(files))
	}
	return nil
}

func goTool(args ...string) error {
	cmd := exec.Command("go", args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = os.Environ()
	if args[0] == "test" {
		cmd.Env = append(cmd.Env, "CGO_ENABLED=1") // the race detector needs it
	}
	return cmd.Run()
}
