package frontend

import (
	"path"
	"strings"
)

// contentTypes are those of files by extension. They do not depend on what is
// installed on the machine.
var contentTypes = map[string]string{
	".avif":        "image/avif",
	".bmp":         "image/bmp",
	".css":         "text/css; charset=UTF-8",
	".csv":         "text/csv; charset=UTF-8",
	".eot":         "application/vnd.ms-fontobject",
	".gif":         "image/gif",
	".htm":         htmlType,
	".html":        htmlType,
	".ico":         "image/x-icon",
	".jpeg":        "image/jpeg",
	".jpg":         "image/jpeg",
	".js":          "application/javascript; charset=UTF-8",
	".json":        "application/json; charset=UTF-8",
	".map":         "application/json; charset=UTF-8",
	".md":          "text/markdown; charset=UTF-8",
	".mjs":         "application/javascript; charset=UTF-8",
	".mp3":         "audio/mpeg",
	".mp4":         "video/mp4",
	".otf":         "font/otf",
	".pdf":         "application/pdf",
	".png":         "image/png",
	".svg":         "image/svg+xml",
	".ttf":         "font/ttf",
	".txt":         "text/plain; charset=UTF-8",
	".wasm":        "application/wasm",
	".webm":        "video/webm",
	".webmanifest": "application/manifest+json",
	".webp":        "image/webp",
	".woff":        "font/woff",
	".woff2":       "font/woff2",
	".xml":         "application/xml",
	".yaml":        "text/yaml; charset=UTF-8",
	".yml":         "text/yaml; charset=UTF-8",
}

const htmlType = "text/html; charset=UTF-8"

// contentType returns the type of a file. Browsers must not guess, so there
// always is one.
func contentType(name string) string {
	if t, ok := contentTypes[strings.ToLower(path.Ext(name))]; ok {
		return t
	}
	return "application/octet-stream"
}
