package scaffold

import (
	"fmt"
	"go/token"
	"regexp"
	"strings"
)

var idForm = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)

// maxID keeps paths and the names of databases short.
const maxID = 40

// checkID checks the id of a plugin, a module or a service, which is also part
// of the names of folders and Go packages.
func checkID(what, id string) error {
	switch {
	case !idForm.MatchString(id):
		problem := fmt.Sprintf("%q cannot be the id of a %s: an id is lower-case letters and digits, in groups separated by single dashes, and begins with a letter", id, what)
		if guess := guessID(id); idForm.MatchString(guess) {
			problem += "; try " + guess
		}
		return fmt.Errorf("%s", problem)
	case len(id) > maxID:
		return fmt.Errorf("%q cannot be the id of a %s: it has %d characters, and at most %d are allowed", id, what, len(id), maxID)
	case strings.Contains(id, "-backend-module-"), strings.HasSuffix(id, "-backend"), strings.HasSuffix(id, "-node"), strings.HasSuffix(id, "-common"):
		return fmt.Errorf("%q cannot be the id of a %s: the endings -backend, -node and -common tell the packages of a plugin apart; leave the ending out", id, what)
	case token.IsKeyword(id):
		return fmt.Errorf("%q cannot be the id of a %s: it is a keyword of Go, and could not be the name of a package", id, what)
	}
	return nil
}

var notInID = regexp.MustCompile(`[^a-z0-9]+`)

// guessID returns the id that was likely meant.
func guessID(text string) string {
	var b strings.Builder
	for i, r := range text {
		if i > 0 && r >= 'A' && r <= 'Z' && text[i-1] >= 'a' && text[i-1] <= 'z' {
			b.WriteByte('-') // of words that are written together
		}
		b.WriteRune(r)
	}
	return strings.Trim(notInID.ReplaceAllString(strings.ToLower(b.String()), "-"), "-")
}

// packageName returns the Go name of a package for an id.
func packageName(id, suffix string) string { return strings.ReplaceAll(id, "-", "") + suffix }

// configKey returns the key of the configuration for an id.
func configKey(id string) string {
	words := strings.Split(id, "-")
	for i, w := range words[1:] {
		words[i+1] = strings.ToUpper(w[:1]) + w[1:]
	}
	return strings.Join(words, "")
}
