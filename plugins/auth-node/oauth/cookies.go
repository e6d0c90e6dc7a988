package oauth

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	nonceLife = 10 * time.Minute
	// chunk is how many characters of a value go into one cookie: browsers
	// take 4096 bytes with name and attributes.
	chunk = 4000
)

// cookies are those that hold the session of a browser with a provider.
type cookies struct {
	id       string
	host     string
	path     string
	secure   bool
	duration time.Duration
	now      func() time.Time
}

// newCookies derives the attributes from where the identity provider sends
// the user back.
func newCookies(id, callback string, duration time.Duration, now func() time.Time) (*cookies, error) {
	u, err := url.Parse(callback)
	if err != nil {
		return nil, err
	}
	if u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%q is not an http or https URL", callback)
	}
	c := &cookies{id: id, host: u.Hostname(), secure: u.Scheme == "https", duration: duration, now: now}
	if before, ok := strings.CutSuffix(u.EscapedPath(), id+"/handler/frame"); ok {
		c.path = before + id
	} else {
		c.path = u.EscapedPath() + "/" + id
	}
	return c, nil
}

func (c *cookies) nonce() string   { return c.id + "-nonce" }
func (c *cookies) token() string   { return c.id + "-refresh-token" }
func (c *cookies) granted() string { return c.id + "-granted-scope" }

// write sets a cookie, for the use by pages of the origin. An empty value
// removes it.
func (c *cookies) write(w http.ResponseWriter, name, value, path string, life time.Duration, origin string) {
	sameSite := "Lax"
	if u, err := url.Parse(origin); c.secure && err == nil && u.Hostname() != c.host {
		sameSite = "None"
	}
	expires := c.now().Add(life)
	if value == "" {
		life, expires = 0, time.Unix(0, 0)
	}
	// [http.SetCookie] refuses or quotes characters that others escape.
	var b strings.Builder
	b.WriteString(name + "=" + escape(value))
	b.WriteString("; Max-Age=" + strconv.Itoa(int(life/time.Second)) + "; Path=" + path)
	b.WriteString("; Expires=" + expires.UTC().Format(http.TimeFormat) + "; HttpOnly")
	if c.secure {
		b.WriteString("; Secure")
	}
	b.WriteString("; SameSite=" + sameSite)
	w.Header().Add("Set-Cookie", b.String())
}

// escape writes a text as encodeURIComponent of JavaScript does, or safer.
func escape(value string) string { return strings.ReplaceAll(url.QueryEscape(value), "+", "%20") }

func (c *cookies) setNonce(w http.ResponseWriter, value, origin string) {
	c.write(w, c.nonce(), value, c.path+"/handler", nonceLife, origin)
}

// set keeps a value for the session, in several cookies if it is long, and
// removes what an earlier value of another length has left.
func (c *cookies) set(w http.ResponseWriter, r *http.Request, name, value, origin string) {
	if len(value) <= chunk {
		c.write(w, name, value, c.path, c.duration, origin)
		c.removeChunks(w, r, name, 0, origin)
		return
	}
	n := 0
	for ; len(value) > 0; n++ {
		part := value[:min(chunk, len(value))]
		value = value[len(part):]
		c.write(w, chunkName(name, n), part, c.path, c.duration, origin)
	}
	if _, err := r.Cookie(name); err == nil {
		c.write(w, name, "", c.path, 0, origin)
	}
	c.removeChunks(w, r, name, n, origin)
}

// remove removes what the browser has sent of a value.
func (c *cookies) remove(w http.ResponseWriter, r *http.Request, name, origin string) {
	if _, err := r.Cookie(name); err == nil {
		c.write(w, name, "", c.path, 0, origin)
	}
	c.removeChunks(w, r, name, 0, origin)
}

// removeChunks removes the chunks from the n-th on.
func (c *cookies) removeChunks(w http.ResponseWriter, r *http.Request, name string, n int, origin string) {
	for ; ; n++ {
		if _, err := r.Cookie(chunkName(name, n)); err != nil {
			return
		}
		c.write(w, chunkName(name, n), "", c.path, 0, origin)
	}
}

func chunkName(name string, n int) string { return name + "-" + strconv.Itoa(n) }

// get returns a value, "" if there is none.
func (c *cookies) get(r *http.Request, name string) string {
	var b strings.Builder
	for n := 0; ; n++ {
		part := one(r, chunkName(name, n))
		if part == "" {
			break
		}
		b.WriteString(part)
	}
	if b.Len() > 0 {
		return b.String()
	}
	return one(r, name)
}

func one(r *http.Request, name string) string {
	cookie, err := r.Cookie(name)
	if err != nil {
		return ""
	}
	value, err := url.PathUnescape(cookie.Value)
	if err != nil {
		return ""
	}
	return value
}
