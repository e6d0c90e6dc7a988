package sealed_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/sealed"
)

func box(t *testing.T, keys ...string) *sealed.Box {
	t.Helper()
	b, err := sealed.New(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestKeysRotate(t *testing.T) {
	t.Parallel()
	old := box(t, "old key").Seal("task", "hunter2")
	if strings.Contains(old, "hunter2") {
		t.Error("the text can be read")
	}
	both := box(t, "new key", "old key")
	if got, err := both.Open("task", old); err != nil || got != "hunter2" {
		t.Errorf("with the older key: %q, %v", got, err)
	}
	if got, err := box(t, "new key").Open("task", both.Seal("task", "x")); err != nil || got != "x" {
		t.Errorf("the newest key does not seal: %q, %v", got, err)
	}
	if _, err := box(t, "new key").Open("task", old); !errors.Is(err, sealed.ErrKey) {
		t.Errorf("without the key: %v", err)
	}
}

func TestTextsAreBoundToTheirTask(t *testing.T) {
	t.Parallel()
	b := box(t, sealed.NewKey())
	text := b.Seal("task", "hunter2")
	changed := []byte(text)
	middle := len(changed) - 10
	if changed[middle] == 'A' {
		changed[middle] = 'B'
	} else {
		changed[middle] = 'A'
	}
	for name, try := range map[string][2]string{
		"another task": {"other", text}, "a changed text": {"task", string(changed)}, "plain JSON": {"task", `{"a":"b"}`}, "nothing": {"task", ""},
	} {
		if got, err := b.Open(try[0], try[1]); err == nil {
			t.Errorf("%s was opened: %q", name, got)
		}
	}
	if _, err := sealed.New(); err == nil {
		t.Error("a box without keys")
	}
}
