package oauth

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"
)

// pageScript hands the result of a sign-in to the window that opened the
// popup: first to whom it is going to be sent, then the result, which only a
// page of that origin receives. $ORIGIN and $RESULT stand for escaped text.
const pageScript = `
var opener = window.opener || window.parent;
var origin = decodeURIComponent('$ORIGIN');
opener.postMessage({ type: 'config_info', targetOrigin: origin }, '*');
opener.postMessage(JSON.parse(decodeURIComponent('$RESULT')), origin);
setTimeout(function () { window.close(); }, 100);
`

// writePage sends the page that ends in a popup. The only script that runs in
// it is that one.
func writePage(w http.ResponseWriter, origin string, result json.RawMessage) error {
	script := strings.NewReplacer("$ORIGIN", escape(origin), "$RESULT", escape(string(result))).Replace(pageScript)
	sum := sha256.Sum256([]byte(script))
	h := w.Header()
	h.Set("Content-Type", "text/html")
	h.Set("X-Frame-Options", "sameorigin")
	h.Set("Content-Security-Policy", "script-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	_, err := io.WriteString(w, "<html><body><script>"+script+"</script></body></html>")
	return err
}
