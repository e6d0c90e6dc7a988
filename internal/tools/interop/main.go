// Command interop signs in at the standard backend with OAuth clients of other
// people, in Node: the packages openid-client and @modelcontextprotocol/sdk.
//
//	go run ./internal/tools/interop
//
// It needs Node 20 with npm, which fetches the packages, so it is no part of
// the tests. -modules names a folder in which they are kept for the next time.
package main

import (
	"bufio"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

//go:embed *.mjs
var programs embed.FS

// packages are those that are tested, at the versions that the programs were
// written for.
var packages = []string{"openid-client@6", "@modelcontextprotocol/sdk@1"}

const config = `
app: { baseUrl: %[1]q }
backend:
  baseUrl: %[1]q
  listen: { host: 127.0.0.1, port: %[2]d }
  database: { client: better-sqlite3, connection: ":memory:" }
auth:
  providers: { guest: { dangerouslyAllowOutsideDevelopment: true } }
  experimentalRefreshToken: { enabled: true }
  experimentalDynamicClientRegistration: { enabled: true }
  clientIdMetadataDocuments: { enabled: true }
mcpActions: { servers: { read-only: {} } }
catalog: { rules: [{ allow: [User, Group] }], locations: [{ type: file, target: %[3]q }] }
`

const guest = `
apiVersion: backstage.io/v1alpha1
kind: User
metadata: { name: guest, namespace: development }
spec: { memberOf: [] }
`

func main() {
	modules := flag.String("modules", "", "folder for the packages, outside of the repository; a temporary one if empty")
	flag.Parse()
	if err := run(context.Background(), *modules); err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, modules string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "interop")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if modules == "" {
		modules = filepath.Join(dir, "modules")
	}
	if err := install(ctx, modules); err != nil {
		return err
	}
	stop, portal, err := backend(ctx, dir)
	if err != nil {
		return err
	}
	defer stop()
	for _, program := range []string{"openid-client.mjs", "mcp-sdk.mjs"} {
		cmd := command(ctx, "node", program)
		cmd.Dir, cmd.Env = modules, append(os.Environ(), "PORTAL="+portal)
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s: %w", program, err)
		}
	}
	return nil
}

func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd
}

// install puts the packages and the programs into the folder.
func install(ctx context.Context, modules string) error {
	if err := os.MkdirAll(modules, 0o750); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(modules, "package.json"), []byte(`{"private":true,"type":"module"}`), 0o600); err != nil {
		return err
	}
	for _, name := range []string{"portal.mjs", "openid-client.mjs", "mcp-sdk.mjs"} {
		text, err := programs.ReadFile(name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(modules, name), text, 0o600); err != nil {
			return err
		}
	}
	cmd := command(ctx, "npm", append([]string{"install", "--no-audit", "--no-fund", "--no-save", "--silent"}, packages...)...)
	cmd.Dir = modules
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("npm install: %w", err)
	}
	return nil
}

// backend builds and starts the standard backend, and waits until the catalog
// has the guest.
func backend(ctx context.Context, dir string) (stop func(), address string, err error) {
	program := filepath.Join(dir, "flytower")
	if err := command(ctx, "go", "build", "-o", program, "./cmd/flytower").Run(); err != nil {
		return nil, "", fmt.Errorf("building the backend, in the root of the repository: %w", err)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	address = "http://" + l.Addr().String()
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		return nil, "", err
	}
	org := filepath.Join(dir, "org.yaml")
	for name, text := range map[string]string{org: guest, filepath.Join(dir, "app-config.yaml"): fmt.Sprintf(config, address, port, org)} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			return nil, "", err
		}
	}
	cmd := command(ctx, program, "run")
	cmd.Dir, cmd.Stdout = dir, nil
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, "", err
	}
	if err := cmd.Start(); err != nil {
		return nil, "", err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var e struct{ Level, Message string }
			if json.Unmarshal(lines.Bytes(), &e) == nil && e.Level == "error" {
				fmt.Fprintln(os.Stderr, lines.Text())
			}
		}
	}()
	stop = func() {
		_ = cmd.Process.Kill() // it may have ended
		<-ended
		_ = cmd.Wait() // it was killed
	}
	for ctx.Err() == nil {
		if hasGuest(ctx, address) {
			return stop, address, nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	stop()
	return nil, "", fmt.Errorf("the backend is not ready: %w", ctx.Err())
}

// hasGuest reports whether the catalog has the guest.
func hasGuest(ctx context.Context, address string) bool {
	var signedIn struct {
		BackstageIdentity struct{ Token string }
	}
	if get(ctx, address+"/api/auth/guest/refresh", "", &signedIn) != nil {
		return false
	}
	return get(ctx, address+"/api/catalog/entities/by-name/user/development/guest", signedIn.BackstageIdentity.Token, nil) == nil
}

func get(ctx context.Context, address, token string, to any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(strings.ToLower(resp.Status))
	}
	if to == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(to)
}
