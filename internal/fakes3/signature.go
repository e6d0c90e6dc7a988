package fakes3

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	algorithm = "AWS4-HMAC-SHA256"
	amzDate   = "20060102T150405Z"
	// skew is how far the clocks of client and server may be apart.
	skew = 15 * time.Minute
)

func denied(format string, args ...any) *Error {
	return &Error{Status: http.StatusForbidden, Code: "SignatureDoesNotMatch", Message: fmt.Sprintf(format, args...)}
}

func sum(b []byte) string {
	digest := sha256.Sum256(b)
	return hex.EncodeToString(digest[:])
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// signer makes signatures of a day.
type signer struct {
	key         []byte
	date, scope string
}

func (s signer) sign(parts ...string) string {
	return hex.EncodeToString(mac(s.key, strings.Join(parts, "\n")))
}

// verify checks the signature of a request, as the documentation of AWS
// Signature Version 4 tells, and returns its payload.
func verify(r *http.Request, now time.Time) ([]byte, *Error) {
	fields := map[string]string{}
	scheme, rest, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	for part := range strings.SplitSeq(rest, ",") {
		key, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		fields[key] = value
	}
	if scheme != algorithm {
		return nil, &Error{Status: http.StatusForbidden, Code: "AccessDenied", Message: "Access Denied"}
	}
	date, err := time.Parse(amzDate, r.Header.Get("X-Amz-Date"))
	if err != nil || now.Sub(date).Abs() > skew {
		return nil, &Error{Status: http.StatusForbidden, Code: "RequestTimeTooSkewed", Message: "The difference between the request time and the current time is too large."}
	}
	s := signer{date: date.Format(amzDate), scope: date.Format("20060102") + "/" + Region + "/s3/aws4_request"}
	if key, _, _ := strings.Cut(fields["Credential"], "/"); key != AccessKey {
		return nil, &Error{Status: http.StatusForbidden, Code: "InvalidAccessKeyId", Message: "The AWS Access Key Id you provided does not exist in our records."}
	}
	if fields["Credential"] != AccessKey+"/"+s.scope {
		return nil, &Error{Status: http.StatusBadRequest, Code: "AuthorizationHeaderMalformed", Message: "The authorization header is malformed; expecting " + s.scope}
	}
	s.key = []byte("AWS4" + SecretKey)
	for _, part := range []string{date.Format("20060102"), Region, "s3", "aws4_request"} {
		s.key = mac(s.key, part)
	}
	signed := strings.Split(fields["SignedHeaders"], ";")
	for _, needed := range []string{"host", "x-amz-date", "x-amz-content-sha256"} {
		if !slices.Contains(signed, needed) {
			return nil, denied("the header %s is not signed", needed)
		}
	}
	payload := r.Header.Get("X-Amz-Content-Sha256")
	seed := s.sign(algorithm, s.date, s.scope, sum([]byte(canonical(r, signed, payload))))
	if seed != fields["Signature"] {
		return nil, denied("The request signature we calculated does not match the signature you provided.")
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, &Error{Status: http.StatusBadRequest, Code: "IncompleteBody", Message: err.Error()}
	}
	switch payload {
	case "UNSIGNED-PAYLOAD":
		return body, nil
	case "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER":
		return s.chunks(r, body, seed, strings.HasSuffix(payload, "-TRAILER"))
	}
	if sum(body) != payload {
		return nil, &Error{Status: http.StatusBadRequest, Code: "XAmzContentSHA256Mismatch", Message: "The provided 'x-amz-content-sha256' header does not match what was computed."}
	}
	return body, nil
}

// canonical is the request as it is signed.
func canonical(r *http.Request, signed []string, payload string) string {
	query := r.URL.Query()
	var pairs []string
	for _, key := range slices.Sorted(maps.Keys(query)) {
		for _, value := range slices.Sorted(slices.Values(query[key])) {
			pairs = append(pairs, escape(key)+"="+escape(value))
		}
	}
	var headers strings.Builder
	for _, name := range signed {
		value := strings.Join(r.Header.Values(name), ",")
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = strconv.FormatInt(r.ContentLength, 10)
		}
		fmt.Fprintf(&headers, "%s:%s\n", name, strings.Join(strings.Fields(value), " "))
	}
	segments := strings.Split(r.URL.Path, "/")
	for i := range segments {
		segments[i] = escape(segments[i])
	}
	return strings.Join([]string{r.Method, strings.Join(segments, "/"), strings.Join(pairs, "&"), headers.String(), strings.Join(signed, ";"), payload}, "\n")
}

func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// chunks reads a body in chunks, each of which is signed with the signature of
// the one before it.
func (s signer) chunks(r *http.Request, body []byte, previous string, trailer bool) ([]byte, *Error) {
	in := bufio.NewReader(bytes.NewReader(body))
	var whole []byte
	for {
		head, err := in.ReadString('\n')
		size, signature, ok := strings.Cut(strings.TrimSuffix(head, "\r\n"), ";chunk-signature=")
		n, sizeErr := strconv.ParseUint(size, 16, 31)
		if err != nil || !ok || sizeErr != nil {
			return nil, denied("%q is no head of a chunk", head)
		}
		chunk := make([]byte, n)
		if _, err := io.ReadFull(in, chunk); err != nil {
			return nil, denied("a chunk is shorter than it says")
		}
		want := s.sign(algorithm+"-PAYLOAD", s.date, s.scope, previous, sum(nil), sum(chunk))
		if signature != want {
			return nil, denied("the signature of a chunk of %d bytes is wrong", n)
		}
		previous = want
		whole = append(whole, chunk...)
		if n == 0 {
			break
		}
		if end, err := in.ReadString('\n'); err != nil || end != "\r\n" {
			return nil, denied("a chunk ends with %q", end)
		}
	}
	if trailer {
		if problem := s.trailers(r, in, previous); problem != nil {
			return nil, problem
		}
	}
	if length := r.Header.Get("X-Amz-Decoded-Content-Length"); length != strconv.Itoa(len(whole)) {
		return nil, denied("the body has %d bytes and not %s", len(whole), length)
	}
	return whole, nil
}

// trailers reads the signed headers behind a body, and adds them to those of
// the request.
func (s signer) trailers(r *http.Request, in *bufio.Reader, previous string) *Error {
	var text strings.Builder
	for {
		line, err := in.ReadString('\n')
		line = strings.TrimRight(line, "\r\n")
		key, value, ok := strings.Cut(line, ":")
		switch {
		case key == "x-amz-trailer-signature":
			if value != s.sign(algorithm+"-TRAILER", s.date, s.scope, previous, sum([]byte(text.String()))) {
				return denied("the signature of the trailers is wrong")
			}
			return nil
		case ok:
			text.WriteString(key + ":" + value + "\n")
			r.Header.Set(key, value)
		case err != nil:
			return denied("the trailers are not signed")
		}
	}
}
