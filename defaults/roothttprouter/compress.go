package roothttprouter

import (
	"io"
	"mime"
	"strconv"
	"strings"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
)

// compressThreshold is the length in bytes from which on answers are
// compressed.
const compressThreshold = 1024

// encoder is a compressing writer that can be used again.
type encoder interface {
	io.WriteCloser
	Flush() error
	Reset(w io.Writer)
}

// encoding is a content coding, best first.
type encoding int

const (
	identity encoding = iota
	codingBrotli
	codingGzip
	codingDeflate
)

func (e encoding) String() string {
	return [...]string{"identity", "br", "gzip", "deflate"}[e]
}

// encoders keeps encoders that are not in use; they are large.
type encoders [4]sync.Pool

func (p *encoders) get(e encoding, w io.Writer) encoder {
	if enc, ok := p[e].Get().(encoder); ok {
		enc.Reset(w)
		return enc
	}
	switch e {
	case codingBrotli:
		// A window of 512 KiB compresses documents of this kind about as well
		// as the default of 4 MiB does.
		return brotli.NewWriterOptions(w, brotli.WriterOptions{Quality: 4, LGWin: 19})
	case codingGzip:
		return gzip.NewWriter(w)
	default:
		return zlib.NewWriter(w)
	}
}

func (p *encoders) put(e encoding, enc encoder) {
	enc.Reset(io.Discard)
	p[e].Put(enc)
}

// negotiate chooses the coding for an Accept-Encoding header: the one that
// the client likes best, and of equals the one that compresses best.
func negotiate(accept string) encoding {
	if accept == "" {
		return identity
	}
	const unset = -1.0
	quality := [4]float64{unset, unset, unset, unset}
	other := unset
	for part := range strings.SplitSeq(accept, ",") {
		name, params, _ := strings.Cut(part, ";")
		q := qualityOf(params)
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "br":
			quality[codingBrotli] = q
		case "gzip", "x-gzip":
			quality[codingGzip] = q
		case "deflate":
			quality[codingDeflate] = q
		case "identity":
			quality[identity] = q
		case "*":
			other = q
		}
	}
	best, bestQuality := identity, 0.0
	for _, e := range []encoding{codingBrotli, codingGzip, codingDeflate} {
		q := quality[e]
		if q == unset {
			q = other
		}
		if q > bestQuality {
			best, bestQuality = e, q
		}
	}
	if quality[identity] > bestQuality {
		return identity
	}
	return best
}

// qualityOf reads ";q=0.5"; what is no number counts 0.
func qualityOf(params string) float64 {
	for p := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(p, "=")
		if strings.EqualFold(strings.TrimSpace(name), "q") {
			q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil || !(q >= 0 && q <= 1) {
				return 0
			}
			return q
		}
	}
	return 1
}

// compressible reports whether content of the type is worth compressing.
func compressible(contentType string) bool {
	switch contentType { // without a parse, what is served most
	case "":
		return false
	case "application/json; charset=utf-8", "application/json", "text/html; charset=utf-8":
		return true
	}
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil && media == "" {
		media = strings.ToLower(strings.TrimSpace(contentType))
	}
	if strings.HasPrefix(media, "text/") ||
		strings.HasSuffix(media, "+json") || strings.HasSuffix(media, "+text") || strings.HasSuffix(media, "+xml") {
		return true
	}
	switch media {
	case "application/json", "application/javascript", "application/x-javascript", "application/ecmascript",
		"application/xml", "application/xml-dtd", "application/manifest+json", "application/graphql",
		"application/json5", "application/toml", "application/wasm", "application/x-sh", "application/x-httpd-php",
		"application/vnd.ms-fontobject", "application/rtf", "application/tar", "application/x-tar",
		"application/x-ndjson", "application/yaml", "application/x-yaml", "application/postscript", "application/dart",
		"font/ttf", "font/otf", "font/eot", "image/bmp", "image/x-icon", "image/vnd.microsoft.icon", "image/x-ms-bmp":
		return true
	}
	return false
}
