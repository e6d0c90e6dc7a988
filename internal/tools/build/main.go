// Command build makes the programs that are given to users: flytower for
// every platform, static (without cgo), without paths of this machine, each
// with its SHA-256 sum in dist/SHA256SUMS. The version that they tell is the
// tag of the repository, which the Go tool records.
//
//	go run ./internal/tools/build                    # all platforms
//	go run ./internal/tools/build linux/arm64        # one
//	go run ./internal/tools/build -check             # compile all packages and tests, keep nothing
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// platforms are those that releases are made for.
var platforms = []string{"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64", "windows/amd64", "windows/arm64"}

func main() {
	out := flag.String("out", "dist", "folder for the programs")
	check := flag.Bool("check", false, "compile all packages and their tests instead, and keep nothing")
	flag.Usage = func() {
		fmt.Fprintf(flag.CommandLine.Output(), "usage: go run ./internal/tools/build [flags] [GOOS/GOARCH ...]\n\nplatforms: %s\n\n", strings.Join(platforms, " "))
		flag.PrintDefaults()
	}
	flag.Parse()
	if err := run(*out, *check, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "build: "+err.Error())
		os.Exit(1)
	}
}

func run(out string, check bool, chosen []string) error {
	if len(chosen) == 0 {
		chosen = platforms
	}
	for _, p := range chosen {
		if !slices.Contains(platforms, p) {
			return fmt.Errorf("%q is no platform of the releases; use %s", p, strings.Join(platforms, ", "))
		}
	}
	if check {
		for _, p := range chosen {
			fmt.Println("== " + p)
			// vet also compiles the tests, without linking them.
			if err := goTool(p, "vet", "./..."); err != nil {
				return fmt.Errorf("%s: %w", p, err)
			}
		}
		return nil
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return fmt.Errorf("making the folder for the programs: %w", err)
	}
	var sums strings.Builder
	for _, p := range chosen {
		name := fileName(p)
		path := filepath.Join(out, name)
		if err := goTool(p, "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "./cmd/flytower"); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		sum, size, err := digest(path)
		if err != nil {
			return err
		}
		fmt.Printf("%-32s %5.1f MB\n", path, float64(size)/1e6)
		fmt.Fprintf(&sums, "%s  %s\n", sum, name)
	}
	if err := os.WriteFile(filepath.Join(out, "SHA256SUMS"), []byte(sums.String()), 0o644); err != nil {
		return fmt.Errorf("writing the sums: %w", err)
	}
	return nil
}

// fileName returns "flytower-linux-amd64".
func fileName(platform string) string {
	name := "flytower-" + strings.ReplaceAll(platform, "/", "-")
	if strings.HasPrefix(platform, "windows/") {
		name += ".exe"
	}
	return name
}

func goTool(platform string, args ...string) error {
	system, arch, _ := strings.Cut(platform, "/")
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+system, "GOARCH="+arch)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go %s: %w", args[0], err)
	}
	return nil
}

func digest(path string) (sum string, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, fmt.Errorf("reading the program: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if size, err = io.Copy(h, f); err != nil {
		return "", 0, fmt.Errorf("reading %s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), size, nil
}
