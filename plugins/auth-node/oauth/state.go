package oauth

import (
	"encoding/hex"
	"net/url"
	"strings"

	"github.com/flytower/flytower/apierr"
)

// state travels through the identity provider. Modules of all backends of the
// family read and write it in this form.
type state struct {
	Nonce, Env, Origin, RedirectURL, Flow, Scope string
}

// encode returns the state as hexadecimal text of a form.
func (s state) encode() string {
	var b strings.Builder
	for _, m := range []struct{ name, value string }{
		{"nonce", s.Nonce}, {"env", s.Env}, {"origin", s.Origin}, {"redirectUrl", s.RedirectURL}, {"flow", s.Flow}, {"scope", s.Scope},
	} {
		if m.value == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('&')
		}
		b.WriteString(m.name + "=" + url.QueryEscape(m.value))
	}
	return hex.EncodeToString([]byte(b.String()))
}

// maxState is how long a state can be, in bytes.
const maxState = 16 << 10

func decodeState(text string) (state, error) {
	if len(text) > maxState {
		return state{}, apierr.NotAllowed("OAuth state is invalid, it is longer than %d bytes", maxState)
	}
	raw, err := hex.DecodeString(text)
	if err != nil {
		return state{}, apierr.NotAllowed("OAuth state is invalid, it is not hexadecimal")
	}
	form, err := url.ParseQuery(string(raw))
	if err != nil {
		return state{}, apierr.NotAllowed("OAuth state is invalid, it is not a form")
	}
	s := state{
		Nonce: form.Get("nonce"), Env: form.Get("env"), Origin: form.Get("origin"),
		RedirectURL: form.Get("redirectUrl"), Flow: form.Get("flow"), Scope: form.Get("scope"),
	}
	switch {
	case s.Env == "":
		return state{}, apierr.NotAllowed("OAuth state is invalid, missing env")
	case s.Nonce == "":
		return state{}, apierr.NotAllowed("OAuth state is invalid, missing nonce")
	}
	return s, nil
}
