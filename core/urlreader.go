package core

import (
	"context"
	"io"
	"time"

	"github.com/flytower/flytower/backend"
)

// ReadOptions make a read conditional or authorised.
type ReadOptions struct {
	// ETag of an earlier answer: an unchanged target is a not-modified error.
	ETag string
	// LastModifiedAfter is the same by time.
	LastModifiedAfter time.Time
	// Token replaces the configured credentials.
	Token Token
	// MaxBytes bounds the answer; 0 is the default of the reader (16 MiB for
	// a file, 512 MiB for an unpacked tree). More is a payload-too-large error.
	MaxBytes int64
	// Interactive asks for a place before background reads where a host limits
	// the rate of requests.
	Interactive bool
}

// ReadResult is one file.
type ReadResult struct {
	// Content is the text of the file; the caller closes it.
	Content io.ReadCloser
	// ETag and LastModified are zero where the host gives none.
	ETag         string
	LastModified time.Time
}

// TreeFile is a file of a tree.
type TreeFile struct {
	// Path is relative to the tree, with slashes.
	Path         string
	Size         int64
	LastModified time.Time
	// Open returns the content.
	Open func() (io.ReadCloser, error)
}

// TreeOptions choose what of a tree is kept.
type TreeOptions struct {
	ReadOptions
	// Filter keeps a file; nil keeps all.
	Filter func(path string, size int64) bool
}

// TreeResult is a tree of files, kept on disk until Close.
type TreeResult interface {
	Files() []TreeFile
	ETag() string
	// WriteTo writes the files below an existing directory.
	WriteTo(ctx context.Context, dir string) error
	Close() error
}

// FoundFile is a file that a search found.
type FoundFile struct {
	URL          string
	LastModified time.Time
	Open         func() (io.ReadCloser, error)
}

// SearchResult is what a search found.
type SearchResult struct {
	Files []FoundFile
	ETag  string
}

// URLReaderService reads files and trees from source hosts by the URL that a
// person would open in a browser.
//
// A missing target is a not-found error, an unchanged one a not-modified
// error, a host that nothing may read a not-allowed error that names the
// configuration key. An answer that says nothing about the target, such as
// 429 or 5xx, is a service-unavailable error: never take it for "gone".
type URLReaderService interface {
	Read(ctx context.Context, url string, o ReadOptions) (ReadResult, error)
	ReadTree(ctx context.Context, url string, o TreeOptions) (TreeResult, error)
	// Search finds files by a URL with glob characters in its path.
	Search(ctx context.Context, url string, o ReadOptions) (SearchResult, error)
	// Resolve resolves a reference found in the file at base, by the rules of
	// the host: "./b.yaml", "/docs/b.yaml" (from the root of the repository) or
	// a whole URL.
	Resolve(ref, base string) (string, error)
}

// URLReader reads files and trees from source hosts.
var URLReader = backend.NewServiceRef[URLReaderService]("core.urlReader")

// URLReaderEntry adds a reader for some URLs.
type URLReaderEntry struct {
	// Name is for logs.
	Name string
	// Matches picks the URLs; the first entry that matches reads.
	Matches func(url string) bool
	Reader  URLReaderService
}

// URLReaderFactory makes the readers of one kind of host from the
// configuration.
type URLReaderFactory func(ctx context.Context, config Config) ([]URLReaderEntry, error)

// URLReaderFactories are all added kinds of hosts. They come before the
// built-in ones.
var URLReaderFactories = backend.NewRootMultiServiceRef[URLReaderFactory]("core.urlReader.factories")
