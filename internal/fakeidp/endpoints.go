package fakeidp

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// authorize is the authorization endpoint. The user agrees at once.
func (s *Server) authorize(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := r.URL.Query()
	s.asked = append(s.asked, q)
	switch {
	case q.Get("client_id") != s.settings.ClientID:
		http.Error(w, "unknown client", http.StatusBadRequest)
		return
	case q.Get("redirect_uri") != s.settings.Callback:
		http.Error(w, "unknown redirect_uri "+q.Get("redirect_uri"), http.StatusBadRequest)
		return
	}
	answer := url.Values{"state": {q.Get("state")}}
	switch method := q.Get("code_challenge_method"); {
	case s.deny != "":
		answer.Set("error", s.deny)
		answer.Set("error_description", "the user says no")
	case q.Get("response_type") != "code", method != "" && method != "S256", (method == "") != (q.Get("code_challenge") == ""):
		answer.Set("error", "invalid_request")
	default:
		code := s.newID("code")
		s.codes[code] = &grant{
			user: s.user, scope: q.Get("scope"), challenge: q.Get("code_challenge"), nonce: q.Get("nonce"),
			redirect: q.Get("redirect_uri"), code: code,
		}
		answer.Set("code", code)
	}
	if s.settings.Issuer != "" && s.settings.Extra["authorization_response_iss_parameter_supported"] == true {
		answer.Set("iss", s.settings.Issuer)
	}
	http.Redirect(w, r, s.settings.Callback+"?"+answer.Encode(), http.StatusFound)
}

func (s *Server) newID(kind string) string {
	s.n++
	return fmt.Sprintf("%s/%d+=", kind, s.n)
}

// refuse answers as RFC 6749 §5.2 says.
func refuse(w http.ResponseWriter, status int, code, text string) {
	writeJSON(w, status, map[string]string{"error": code, "error_description": text})
}

// token is the token endpoint.
func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		refuse(w, http.StatusBadRequest, "invalid_request", "no form")
		return
	}
	s.mu.Lock()
	gate := s.gate
	s.forms = append(s.forms, r.PostForm)
	s.mu.Unlock()
	if gate != nil {
		gate(r.PostForm.Get("grant_type"))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.isClient(r) {
		refuse(w, http.StatusUnauthorized, "invalid_client", "who is that")
		return
	}
	switch form := r.PostForm; form.Get("grant_type") {
	case "authorization_code":
		g := s.codes[form.Get("code")]
		switch {
		case g == nil:
			refuse(w, http.StatusBadRequest, "invalid_grant", "unknown code")
			return
		case g.used:
			g.ended = true
			refuse(w, http.StatusBadRequest, "invalid_grant", "the code was used")
			return
		case form.Get("redirect_uri") != g.redirect:
			refuse(w, http.StatusBadRequest, "invalid_grant", "another redirect_uri")
			return
		case !proves(g.challenge, form.Get("code_verifier")):
			refuse(w, http.StatusBadRequest, "invalid_grant", "PKCE verification failed")
			return
		}
		g.used = true
		s.answer(w, g, g.scope, g.nonce)
	case "refresh_token":
		token := form.Get("refresh_token")
		g := s.refresh[token]
		switch {
		case g == nil || g.ended:
			refuse(w, http.StatusBadRequest, "invalid_grant", "unknown refresh token")
			return
		case s.settings.Rotate && token != g.newRefresh:
			g.ended = true
			refuse(w, http.StatusBadRequest, "invalid_grant", "the refresh token was used")
			return
		}
		scope := g.scope
		if form.Has("scope") {
			scope = form.Get("scope")
		}
		s.answer(w, g, scope, "")
	default:
		refuse(w, http.StatusBadRequest, "unsupported_grant_type", "")
	}
}

// isClient checks the credentials of the client.
func (s *Server) isClient(r *http.Request) bool {
	id, secret, header := r.BasicAuth()
	id, _ = url.QueryUnescape(id)
	secret, _ = url.QueryUnescape(secret)
	inForm := r.PostForm.Has("client_secret")
	if !header || !s.settings.Header && inForm {
		id, secret = r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	}
	if !s.settings.Either && (header != s.settings.Header || header && inForm) {
		return false
	}
	return id == s.settings.ClientID && secret == s.settings.ClientSecret
}

func proves(challenge, verifier string) bool {
	if challenge == "" {
		return verifier == ""
	}
	sum := sha256.Sum256([]byte(verifier))
	return len(verifier) >= 43 && base64.RawURLEncoding.EncodeToString(sum[:]) == challenge
}

// answer gives the tokens of a session.
func (s *Server) answer(w http.ResponseWriter, g *grant, scope, nonce string) {
	token := s.newID("access")
	if s.settings.AccessToken != nil {
		token = s.settings.AccessToken(scope, token)
	}
	s.access[token] = g
	out := map[string]any{"access_token": token, "token_type": "bearer", "scope": scope}
	if s.settings.ExpiresIn > 0 {
		out["expires_in"] = int(s.settings.ExpiresIn / time.Second)
	}
	if s.settings.RefreshTokens {
		if g.newRefresh == "" || s.settings.Rotate {
			g.newRefresh = s.newID("refresh")
			s.refresh[g.newRefresh] = g
			out["refresh_token"] = g.newRefresh
		}
	}
	if s.settings.Issuer != "" && slices.Contains(strings.Fields(scope), "openid") {
		id, err := s.idToken(g, token, nonce)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		out["id_token"] = id
	}
	if !s.settings.Form {
		writeJSON(w, http.StatusOK, out)
		return
	}
	form := url.Values{}
	for name, value := range out {
		form.Set(name, fmt.Sprint(value))
	}
	w.Header().Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	_, _ = w.Write([]byte(form.Encode()))
}

// bearer returns the session of the access token.
func (s *Server) bearer(w http.ResponseWriter, r *http.Request) (*grant, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	g := s.access[token]
	if g == nil || g.ended {
		w.WriteHeader(http.StatusUnauthorized)
		return nil, false
	}
	return g, true
}

func (s *Server) userInfo(w http.ResponseWriter, r *http.Request) {
	if g, ok := s.bearer(w, r); ok {
		writeJSON(w, http.StatusOK, g.user.Claims)
	}
}

// revoke is the endpoint of RFC 7009.
func (s *Server) revoke(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		refuse(w, http.StatusBadRequest, "invalid_request", "no form")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	token := r.PostForm.Get("token")
	s.revoked = append(s.revoked, token)
	if g := s.refresh[token]; g != nil {
		g.ended = true
	}
	w.WriteHeader(http.StatusOK)
}

func (s *Server) keys(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
		{Key: s.rsa.Public(), KeyID: "rsa", Algorithm: "RS256", Use: "sig"},
		{Key: s.ec.Public(), KeyID: "ec", Algorithm: "ES256", Use: "sig"},
	}})
}

func (s *Server) metadata(w http.ResponseWriter, _ *http.Request) {
	m := map[string]any{
		"issuer": s.settings.Issuer, "authorization_endpoint": s.settings.Authorize, "token_endpoint": s.settings.Token,
		"userinfo_endpoint": s.settings.UserInfo, "jwks_uri": s.settings.Keys, "code_challenge_methods_supported": []string{"S256"},
	}
	if s.settings.Revoke != "" {
		m["revocation_endpoint"] = s.settings.Revoke
	}
	maps.Copy(m, s.settings.Extra)
	writeJSON(w, http.StatusOK, m)
}
