package frontend

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// The cache headers.
const (
	neverStore   = "no-store, max-age=0"
	askEveryTime = "no-cache"
	expireAtOnce = "max-age=0"
	twoWeeks     = "max-age=1209600"
)

// Serve answers a request whose path is relative to the app. An error is one
// of the server; nothing was written then.
func (e *EntryPoint) Serve(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("X-Frame-Options", "DENY")
	read := r.Method == http.MethodGet || r.Method == http.MethodHead
	path := r.URL.Path
	if rest, ok := belowStatic(path); ok {
		return e.serveStatic(w, r, rest, read)
	}
	if !read {
		w.WriteHeader(http.StatusNotFound)
		return nil
	}
	if name, ok := fileName(path); ok && name != pageFile {
		served, err := e.serveFile(w, r, name, "")
		if served || err != nil {
			return err
		}
	}
	e.servePage(w)
	return nil
}

// servePage sends the page, which names the files of this bundle and must not
// outlive it.
func (e *EntryPoint) servePage(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", neverStore)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(e.page) // the client may be gone
}

// belowStatic reports whether a path is /static or below it, and returns the
// rest.
func belowStatic(path string) (rest string, ok bool) {
	const prefix = "/" + staticDir
	if len(path) < len(prefix) || !strings.EqualFold(path[:len(prefix)], prefix) {
		return "", false
	}
	rest = path[len(prefix):]
	return rest, rest == "" || rest[0] == '/'
}

func (e *EntryPoint) serveStatic(w http.ResponseWriter, r *http.Request, rest string, read bool) error {
	if name, ok := fileName("/" + staticDir + rest); ok && read && rest != "" && !strings.HasSuffix(rest, "/") {
		served, err := e.serveFile(w, r, name, e.cache(twoWeeks))
		if served || err != nil {
			return err
		}
		served, err = e.serveKept(w, r, rest[1:])
		if served || err != nil {
			return err
		}
	}
	if e.Fallback != nil {
		e.Fallback.ServeHTTP(w, relative(r, rest))
		return nil
	}
	w.WriteHeader(http.StatusNotFound)
	return nil
}

// cache returns the cache header of files that are good for a time.
func (e *EntryPoint) cache(age string) string {
	if e.Private {
		return "private, " + age
	}
	return "public, " + age
}

// relative returns r with the path rest.
func relative(r *http.Request, rest string) *http.Request {
	if rest == "" {
		rest = "/"
	}
	r2, u := *r, *r.URL
	u.Path, u.RawPath = rest, ""
	if escaped := r.URL.EscapedPath(); strings.Contains(escaped, "%") {
		if tail := escaped[min(len(escaped), len(staticDir)+1):]; tail != "" {
			if p, err := url.PathUnescape(tail); err == nil && p == rest {
				u.RawPath = tail
			}
		}
	}
	r2.URL = &u
	return &r2
}

// serveFile sends a file of the bundle, if there is such a file. cache is the
// cache header; "" depends on the type.
func (e *EntryPoint) serveFile(w http.ResponseWriter, r *http.Request, name, cache string) (served bool, err error) {
	if e.script != nil && e.script.name == name {
		e.send(w, r, name, askEveryTime, int64(len(e.script.content)), e.script.modTime, bytes.NewReader(e.script.content))
		return true, nil
	}
	f, info, err := e.open(name)
	if err != nil {
		if machineFails(err) {
			return false, fmt.Errorf("open a file of the frontend: %w", err)
		}
		return false, nil
	}
	defer f.Close()
	if cache == "" {
		cache = e.cache(expireAtOnce)
		if contentType(name) == htmlType {
			cache = neverStore
		}
	}
	e.send(w, r, name, cache, info.Size(), info.ModTime(), f)
	return true, nil
}

// serveKept sends a file of an earlier bundle.
func (e *EntryPoint) serveKept(w http.ResponseWriter, r *http.Request, path string) (served bool, err error) {
	const maxPath = 1024
	if e.Kept == nil || len(path) > maxPath {
		return false, nil
	}
	f, err := e.Kept.Find(r.Context(), path)
	if err != nil && r.Context().Err() == nil {
		return false, fmt.Errorf("look for a file of an earlier frontend: %w", err)
	}
	if err != nil || f == nil {
		return false, context.Cause(r.Context())
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return false, err
	}
	e.send(w, r, path, e.cache(twoWeeks), size, f.ModTime(), f)
	if f.Err() != nil {
		// The client must not take the part that it got for the whole.
		panic(http.ErrAbortHandler)
	}
	return true, nil
}

// send sends content with what lets clients ask for it again or for parts.
func (e *EntryPoint) send(w http.ResponseWriter, r *http.Request, name, cache string, size int64, modTime time.Time, content io.ReadSeeker) {
	h := w.Header()
	h.Set("Cache-Control", cache)
	h.Set("Content-Type", contentType(name))
	h.Set("Etag", `W/"`+strconv.FormatInt(size, 16)+"-"+strconv.FormatInt(modTime.UnixMilli(), 16)+`"`)
	http.ServeContent(w, r, "", modTime, content)
}
