package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

//go:embed peer.cjs
var peerScript []byte

//go:embed jose.cjs
var joseScript []byte

// node runs the scripts.
type node struct{ program, dir, scratch string }

func (n node) unpack() error {
	for name, text := range map[string][]byte{"peer.cjs": peerScript, "jose.cjs": joseScript} {
		if err := os.WriteFile(filepath.Join(n.scratch, name), text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// jose gives the script a task.
func (n node) jose(ctx context.Context, task, out any) error {
	text, err := json.Marshal(task)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, n.program, filepath.Join(n.scratch, "jose.cjs"), n.dir)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(text), os.Stderr
	answer, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s: %w", cmd, err)
	}
	return json.Unmarshal(answer, out)
}

// goldenTime is when the tests of the golden tokens happen.
var goldenTime = time.Date(2030, time.January, 1, 12, 0, 0, 0, time.UTC).Unix()

func (n node) golden(ctx context.Context, file string) error {
	var made any
	if err := n.jose(ctx, map[string]any{"make": map[string]any{"now": goldenTime}}, &made); err != nil {
		return err
	}
	text, err := json.MarshalIndent(made, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o600)
}

// verification is one that jose makes: with the keys, or those at the URL.
type verification struct {
	Name     string            `json:"name"`
	Token    string            `json:"token"`
	Keys     []json.RawMessage `json:"keys,omitempty"`
	URL      string            `json:"url,omitempty"`
	Typ      string            `json:"typ"`
	Audience string            `json:"audience,omitempty"`
	Now      int64             `json:"now,omitempty"`
	// want is the subject.
	want string
}

// verify has jose verify tokens.
func (r *report) verify(ctx context.Context, n node, all ...verification) error {
	var answers []struct {
		Name, Error string
		Payload     struct{ Sub string }
	}
	if err := n.jose(ctx, map[string]any{"verify": all}, &answers); err != nil {
		return err
	}
	for i, a := range answers {
		r.same("jose verifies "+a.Name, all[i].want, a.Payload.Sub+a.Error)
	}
	return nil
}

func (r *report) ours(ctx context.Context, n node, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var o struct {
		Users, Plugin                         json.RawMessage
		User, Limited, Service, ServiceOnUser string
	}
	if err := json.Unmarshal(text, &o); err != nil {
		return err
	}
	const guest = "user:development/guest"
	users, plugin := []json.RawMessage{o.Users}, []json.RawMessage{o.Plugin}
	return r.verify(
		ctx, n,
		verification{Name: "golden user token", Token: o.User, Keys: users, Typ: "vnd.backstage.user", Audience: "backstage", Now: goldenTime, want: guest},
		verification{Name: "golden limited token", Token: o.Limited, Keys: users, Typ: "vnd.backstage.limited-user", Now: goldenTime, want: guest},
		verification{Name: "golden plugin token", Token: o.Service, Keys: plugin, Typ: "vnd.backstage.plugin", Audience: "remote", Now: goldenTime, want: "caller"},
		verification{Name: "golden plugin token for a user", Token: o.ServiceOnUser, Keys: plugin, Typ: "vnd.backstage.plugin", Audience: "remote", Now: goldenTime, want: "caller"},
	)
}

// start starts a backend of the reference. stop ends it.
func (n node) start(ctx context.Context, name, config string, signIn bool) (stop func(), err error) {
	file := filepath.Join(n.scratch, name+".yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	provider := "none"
	if signIn {
		provider = "auth"
	}
	cmd := exec.CommandContext(ctx, n.program, filepath.Join(n.scratch, "peer.cjs"), ".", provider, "--config", file)
	log, err := os.Create(filepath.Join(n.scratch, name+".log"))
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, n.dir
	cmd.Env = append(os.Environ(), "NODE_ENV=production", "LOG_LEVEL=warn")
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = log.Close()
	}, nil
}

// log is what the backend has said.
func (n node) log(name string) string {
	text, _ := os.ReadFile(filepath.Join(n.scratch, name+".log"))
	return string(text)
}
