// Package fakes3 is an object store for tests that speaks the protocol of
// Amazon S3 over HTTP.
//
//	s3 := fakes3.New(t, "bucket")
//	client := … s3.URL, fakes3.AccessKey, fakes3.SecretKey, path style …
//
// It refuses what the real one refuses: requests whose signature (version 4,
// with the hash of the payload, in signed chunks with or without trailers, or
// unsigned) is not right, parts that are too small, uploads that are not there.
// It keeps objects in memory, knows one region and only what this repository
// uses: objects, uploads in parts, and listings.
package fakes3

import (
	"bytes"
	"crypto/md5" //nolint:gosec // what S3 calls an ETag
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// The credentials that the server accepts, and where it is.
const (
	AccessKey = "AKIDEXAMPLE"
	SecretKey = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
	Region    = "eu-central-1"
)

const (
	// minPart is the size of all parts of an upload but the last one.
	minPart = 5 << 20
	// page is how many objects a listing has at once.
	page = 3
)

// Server is an object store.
type Server struct {
	// URL is where it is; the bucket is the first part of the path.
	URL string

	bucket string

	mu       sync.Mutex
	objects  map[string]object
	uploads  map[string]*upload
	next     int
	requests []string
	largest  int // body
	refuse   func(operation string) *Error
}

type object struct {
	content  []byte
	modified time.Time
	header   http.Header
}

type upload struct {
	key    string
	begun  time.Time
	header http.Header
	parts  map[int][]byte
}

// Error is an error as the store gives it.
type Error struct {
	XMLName xml.Name `xml:"Error"`
	Status  int      `xml:"-"`
	Code    string
	Message string
}

// New starts a store with an empty bucket. It ends with the test.
func New(t testing.TB, bucket string) *Server {
	t.Helper()
	s := &Server{bucket: bucket, objects: map[string]object{}, uploads: map[string]*upload{}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.URL = server.URL
	return s
}

// Refuse makes the store answer operations, such as "PutObject" or
// "UploadPart", with errors; nil from refuse, or a nil function, lets them
// pass.
func (s *Server) Refuse(refuse func(operation string) *Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = refuse
}

// Objects returns the keys of the objects, sorted.
func (s *Server) Objects() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.objects))
}

// Header returns what a client said of an object when it was made.
func (s *Server) Header(key string) http.Header {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.objects[key].header
}

// Uploads returns how many uploads have neither been completed nor aborted.
func (s *Server) Uploads() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.uploads)
}

// Operations returns what was asked, in order.
func (s *Server) Operations() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Largest returns the size of the largest body that was sent.
func (s *Server) Largest() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.largest
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, problem := verify(r, time.Now())
	if problem == nil {
		problem = checksum(r.Header, body)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	operation, handle := s.route(r)
	s.requests = append(s.requests, operation)
	s.largest = max(s.largest, len(body))
	if problem == nil && s.refuse != nil {
		problem = s.refuse(operation)
	}
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if problem == nil && bucket != s.bucket {
		problem = &Error{Status: http.StatusNotFound, Code: "NoSuchBucket", Message: "The specified bucket does not exist"}
	}
	if problem == nil && handle == nil {
		problem = &Error{Status: http.StatusNotImplemented, Code: "NotImplemented", Message: r.Method + " " + r.URL.String()}
	}
	if problem == nil {
		problem = handle(w, r, key, body)
	}
	if problem != nil {
		writeXML(w, problem.Status, problem)
	}
}

type handler func(w http.ResponseWriter, r *http.Request, key string, body []byte) *Error

func (s *Server) route(r *http.Request) (string, handler) {
	query := r.URL.Query()
	_, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch {
	case key == "" && r.Method == http.MethodHead:
		return "HeadBucket", func(http.ResponseWriter, *http.Request, string, []byte) *Error { return nil }
	case key == "" && r.Method == http.MethodGet && query.Get("list-type") == "2":
		return "ListObjectsV2", s.list
	case key == "" && r.Method == http.MethodGet && query.Has("uploads"):
		return "ListMultipartUploads", s.listUploads
	case key == "":
	case r.Method == http.MethodPost && query.Has("uploads"):
		return "CreateMultipartUpload", s.create
	case r.Method == http.MethodPut && query.Has("uploadId"):
		return "UploadPart", s.part
	case r.Method == http.MethodPost && query.Has("uploadId"):
		return "CompleteMultipartUpload", s.complete
	case r.Method == http.MethodDelete && query.Has("uploadId"):
		return "AbortMultipartUpload", s.abort
	case r.Method == http.MethodPut:
		return "PutObject", s.put
	case r.Method == http.MethodGet, r.Method == http.MethodHead:
		return map[string]string{http.MethodGet: "GetObject", http.MethodHead: "HeadObject"}[r.Method], s.get
	case r.Method == http.MethodDelete:
		return "DeleteObject", s.remove
	}
	return r.Method + " " + r.URL.RequestURI(), nil
}

func writeXML(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, xml.Header)
	_ = xml.NewEncoder(w).Encode(v) // who asks sees what is missing
}

// checksum compares the checksums that the client sent.
func checksum(h http.Header, body []byte) *Error {
	bad := &Error{Status: http.StatusBadRequest, Code: "BadDigest", Message: "The checksum you specified did not match what we received"}
	if sum := h.Get("Content-MD5"); sum != "" {
		if found := md5.Sum(body); base64.StdEncoding.EncodeToString(found[:]) != sum { //nolint:gosec // as above
			return bad
		}
	}
	if sum := h.Get("X-Amz-Checksum-Crc32c"); sum != "" && !strings.Contains(sum, "-") {
		found := crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli))
		if base64.StdEncoding.EncodeToString([]byte{byte(found >> 24), byte(found >> 16), byte(found >> 8), byte(found)}) != sum {
			return bad
		}
	}
	return nil
}

func etag(content []byte) string {
	sum := md5.Sum(content) //nolint:gosec // as above
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

func (s *Server) put(w http.ResponseWriter, r *http.Request, key string, body []byte) *Error {
	s.objects[key] = object{content: body, modified: time.Now(), header: r.Header.Clone()}
	w.Header().Set("ETag", etag(body))
	return nil
}

func noKey() *Error {
	return &Error{Status: http.StatusNotFound, Code: "NoSuchKey", Message: "The specified key does not exist."}
}

func (s *Server) get(w http.ResponseWriter, r *http.Request, key string, _ []byte) *Error {
	found, ok := s.objects[key]
	if !ok {
		return noKey()
	}
	w.Header().Set("ETag", etag(found.content))
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", found.modified, bytes.NewReader(found.content))
	return nil
}

func (s *Server) remove(w http.ResponseWriter, _ *http.Request, key string, _ []byte) *Error {
	delete(s.objects, key)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) create(w http.ResponseWriter, r *http.Request, key string, _ []byte) *Error {
	s.next++
	id := fmt.Sprintf("upload-%d", s.next)
	s.uploads[id] = &upload{key: key, begun: time.Now(), header: r.Header.Clone(), parts: map[int][]byte{}}
	writeXML(w, http.StatusOK, struct {
		XMLName               xml.Name `xml:"InitiateMultipartUploadResult"`
		Bucket, Key, UploadId string   //nolint:revive // as on the wire
	}{Bucket: s.bucket, Key: key, UploadId: id})
	return nil
}

func (s *Server) upload(r *http.Request, key string) (*upload, *Error) {
	u, ok := s.uploads[r.URL.Query().Get("uploadId")]
	if !ok || u.key != key {
		return nil, &Error{Status: http.StatusNotFound, Code: "NoSuchUpload", Message: "The specified multipart upload does not exist."}
	}
	return u, nil
}

func (s *Server) part(w http.ResponseWriter, r *http.Request, key string, body []byte) *Error {
	u, problem := s.upload(r, key)
	if problem != nil {
		return problem
	}
	number, err := strconv.Atoi(r.URL.Query().Get("partNumber"))
	if err != nil || number < 1 || number > 10_000 {
		return &Error{Status: http.StatusBadRequest, Code: "InvalidArgument", Message: "Part number must be an integer between 1 and 10000, inclusive"}
	}
	u.parts[number] = body
	w.Header().Set("ETag", etag(body))
	return nil
}

func (s *Server) complete(w http.ResponseWriter, r *http.Request, key string, body []byte) *Error {
	u, problem := s.upload(r, key)
	if problem != nil {
		return problem
	}
	var list struct {
		Part []struct {
			PartNumber int
			ETag       string
		}
	}
	if err := xml.Unmarshal(body, &list); err != nil || len(list.Part) == 0 {
		return &Error{Status: http.StatusBadRequest, Code: "MalformedXML", Message: "The XML you provided was not well-formed"}
	}
	var whole []byte
	for i, p := range list.Part {
		content, ok := u.parts[p.PartNumber]
		switch {
		case !ok, strings.Trim(etag(content), `"`) != strings.Trim(p.ETag, `"`):
			return &Error{Status: http.StatusBadRequest, Code: "InvalidPart", Message: "One or more of the specified parts could not be found."}
		case i > 0 && list.Part[i-1].PartNumber >= p.PartNumber:
			return &Error{Status: http.StatusBadRequest, Code: "InvalidPartOrder", Message: "The list of parts was not in ascending order."}
		case i < len(list.Part)-1 && len(content) < minPart:
			return &Error{Status: http.StatusBadRequest, Code: "EntityTooSmall", Message: "Your proposed upload is smaller than the minimum allowed size"}
		}
		whole = append(whole, content...)
	}
	delete(s.uploads, r.URL.Query().Get("uploadId"))
	s.objects[key] = object{content: whole, modified: time.Now(), header: u.header}
	writeXML(w, http.StatusOK, struct {
		XMLName           xml.Name `xml:"CompleteMultipartUploadResult"`
		Bucket, Key, ETag string
	}{Bucket: s.bucket, Key: key, ETag: etag(whole)})
	return nil
}

func (s *Server) abort(w http.ResponseWriter, r *http.Request, key string, _ []byte) *Error {
	if _, problem := s.upload(r, key); problem != nil {
		return problem
	}
	delete(s.uploads, r.URL.Query().Get("uploadId"))
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) list(w http.ResponseWriter, r *http.Request, _ string, _ []byte) *Error {
	query := r.URL.Query()
	type content struct {
		Key, LastModified, ETag string
		Size                    int
	}
	answer := struct {
		XMLName               xml.Name `xml:"ListBucketResult"`
		Name, Prefix          string
		IsTruncated           bool
		NextContinuationToken string
		Contents              []content
	}{Name: s.bucket, Prefix: query.Get("prefix")}
	after := query.Get("continuation-token")
	for _, key := range slices.Sorted(maps.Keys(s.objects)) {
		if !strings.HasPrefix(key, answer.Prefix) || key <= after {
			continue
		}
		if len(answer.Contents) == page {
			answer.IsTruncated, answer.NextContinuationToken = true, answer.Contents[page-1].Key
			break
		}
		o := s.objects[key]
		answer.Contents = append(answer.Contents, content{key, o.modified.UTC().Format(time.RFC3339), etag(o.content), len(o.content)})
	}
	writeXML(w, http.StatusOK, answer)
	return nil
}

func (s *Server) listUploads(w http.ResponseWriter, r *http.Request, _ string, _ []byte) *Error {
	type entry struct {
		Key, UploadId, Initiated string //nolint:revive // as on the wire
	}
	answer := struct {
		XMLName        xml.Name `xml:"ListMultipartUploadsResult"`
		Bucket, Prefix string
		IsTruncated    bool
		Upload         []entry
	}{Bucket: s.bucket, Prefix: r.URL.Query().Get("prefix")}
	for _, id := range slices.Sorted(maps.Keys(s.uploads)) {
		if u := s.uploads[id]; strings.HasPrefix(u.key, answer.Prefix) {
			answer.Upload = append(answer.Upload, entry{u.key, id, u.begun.UTC().Format(time.RFC3339)})
		}
	}
	writeXML(w, http.StatusOK, answer)
	return nil
}
