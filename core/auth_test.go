package core_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/flytower/flytower/core"
)

func TestCredentialsKeepTheirToken(t *testing.T) {
	t.Parallel()
	c := core.UserCredentials("user:default/jane", "plugin:catalog", core.NewToken("hunter2"), time.Unix(1, 0), false)
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "credentials", c, "pointer", &c, "token", c.Token())
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "credentials", c, "list", []core.Credentials{c}, "token", c.Token())
	encoded, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		all(c), all(&c), all([]core.Credentials{c}), all(c.Token()), all(struct{ C core.Credentials }{c}), log.String(), string(encoded),
	} {
		if strings.Contains(text, "hunter2") {
			t.Errorf("the token shows in %s", text)
		}
	}
	if want := `{"$$type":"@backstage/BackstageCredentials","expiresAt":"1970-01-01T00:00:01.000Z","principal":{"type":"user","userEntityRef":"user:default/jane","actor":{"type":"service","subject":"plugin:catalog"}},"version":"v1"}`; string(encoded) != want {
		t.Errorf("encoded as %s", encoded)
	}
}

// all formats v in every way.
func all(v any) string {
	var out strings.Builder
	for _, verb := range "vsqdxXtT" {
		fmt.Fprintf(&out, "%"+string(verb)+" %+"+string(verb)+" %#"+string(verb), v, v, v)
	}
	return out.String()
}
