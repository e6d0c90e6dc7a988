package rootconfig_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/flytower/flytower/defaults/rootconfig"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// layers returns a configuration of YAML texts, lowest precedence first.
func layers(t *testing.T, texts ...string) *rootconfig.Root {
	t.Helper()
	var list []rootconfig.Layer
	for i, text := range texts {
		name := []string{"app-config.yaml", "app-config.local.yaml"}[i]
		l, err := rootconfig.Parse(name, text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, l)
	}
	return rootconfig.New(list...)
}

// write makes files in a directory.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// load loads the configuration of a directory with the given environment.
func load(t *testing.T, dir string, o rootconfig.Options) (*rootconfig.Root, error) {
	t.Helper()
	o.Dir = dir
	if o.Args == nil {
		o.Args = []string{}
	}
	if o.Env == nil {
		o.Env = []string{}
	}
	return rootconfig.Load(context.Background(), o)
}

// errorText returns the text of an error with a directory written as DIR.
func errorText(err error, dir string) string {
	if err == nil {
		return ""
	}
	if dir == "" {
		return err.Error()
	}
	return strings.ReplaceAll(err.Error(), dir, "DIR")
}

func as[T error](err error) (T, bool) {
	var target T
	ok := errors.As(err, &target)
	return target, ok
}
