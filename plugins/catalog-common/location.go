package catalogcommon

import (
	"crypto/sha1"
	"encoding/hex"
	"strings"
	"unicode"
)

// LocationRef says where entity data is read from, for example
// {url https://example.com/org/repo/blob/main/catalog-info.yaml}.
type LocationRef struct {
	Type   string `json:"type"`
	Target string `json:"target"`
}

// ParseLocationRef reads <type>:<target>. Space around both parts is dropped.
//
// It refuses the types http and https, which are a forgotten "url:", and
// targets that a browser would run as a script. The error is a *LocationRefError.
func ParseLocationRef(ref string) (LocationRef, error) {
	locationType, target, found := strings.Cut(ref, ":")
	locationType, target = strings.TrimFunc(locationType, isSpace), strings.TrimFunc(target, isSpace)
	switch {
	case !found || locationType == "" || target == "":
		return LocationRef{}, &LocationRefError{Ref: ref, Problem: "expected <type>:<target>, for example url:https://example.com/catalog-info.yaml"}
	case locationType == "http" || locationType == "https":
		return LocationRef{}, &LocationRefError{Ref: ref, Problem: "put url: before it, as in url:" + ref}
	case isScriptURL(target):
		return LocationRef{}, &LocationRefError{Ref: ref, Problem: "the target is a javascript: URL"}
	}
	return LocationRef{Type: locationType, Target: target}, nil
}

// Format returns <type>:<target>, or a *LocationRefError if a part is empty or
// the target is a script.
func (l LocationRef) Format() (string, error) {
	switch {
	case l.Type == "":
		return "", &LocationRefError{Ref: l.String(), Problem: "the type is empty"}
	case l.Target == "":
		return "", &LocationRefError{Ref: l.String(), Problem: "the target is empty"}
	case isScriptURL(l.Target):
		return "", &LocationRefError{Ref: l.String(), Problem: "the target is a javascript: URL"}
	}
	return l.String(), nil
}

// String returns <type>:<target> without any check; see Format.
func (l LocationRef) String() string { return l.Type + ":" + l.Target }

// EntityName returns the name that the catalog gives to the Location entity it
// generates for this location. For file locations the target must already be
// absolute, so that the name does not depend on the working directory.
func (l LocationRef) EntityName() string {
	sum := sha1.Sum([]byte(l.String()))
	return "generated-" + hex.EncodeToString(sum[:])
}

// Location returns the location ref that the entity was read from. The error
// is a *MissingAnnotationError or a *LocationRefError.
func (e Entity) Location() (LocationRef, error) { return e.locationAt(AnnotationLocation) }

// OriginLocation returns the location ref at the root of the ingestion.
func (e Entity) OriginLocation() (LocationRef, error) { return e.locationAt(AnnotationOriginLocation) }

// SourceLocation returns the location ref of the entity's source code, which is
// the one it was read from unless an annotation says otherwise.
func (e Entity) SourceLocation() (LocationRef, error) {
	if e.Annotation(AnnotationSourceLocation) != "" {
		return e.locationAt(AnnotationSourceLocation)
	}
	return e.locationAt(AnnotationLocation)
}

func (e Entity) locationAt(annotation string) (LocationRef, error) {
	ref := e.Annotation(annotation)
	if ref == "" {
		return LocationRef{}, &MissingAnnotationError{Ref: e.Ref(), Annotation: annotation}
	}
	return ParseLocationRef(ref)
}

// MissingAnnotationError reports an entity without an annotation that the catalog needs.
type MissingAnnotationError struct {
	Ref        Ref
	Annotation string
}

func (e *MissingAnnotationError) Error() string {
	return "Entity '" + e.Ref.String() + "' does not have the annotation " + e.Annotation
}

// ErrorName returns the name of the error in serialised form.
func (e *MissingAnnotationError) ErrorName() string { return "InputError" }

// LocationRefError reports a text or value that is no location reference.
type LocationRefError struct {
	Ref     string
	Problem string
}

func (e *LocationRefError) Error() string {
	return "location ref '" + e.Ref + "' is not valid: " + e.Problem
}

// ErrorName returns the name of the error in serialised form.
func (e *LocationRefError) ErrorName() string { return "TypeError" }

// isScriptURL reports whether a URL parser would see the scheme "javascript":
// it skips leading control characters and spaces, ignores line breaks and tabs
// between the letters, and does not distinguish case.
func isScriptURL(s string) bool {
	const scheme = "javascript:"
	s = strings.TrimLeftFunc(s, func(r rune) bool { return r <= ' ' })
	matched := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '\r' || c == '\n' || c == '\t' {
			continue
		}
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != scheme[matched] {
			return false
		}
		if matched++; matched == len(scheme) {
			return true
		}
	}
	return false
}

// IsScriptURL reports whether s is a javascript: URL in any disguise that
// browsers accept. The catalog keeps such URLs out of locations and links.
func IsScriptURL(s string) bool { return isScriptURL(s) }

// isSpace is the white space that JavaScript's trim removes.
func isSpace(r rune) bool {
	switch r {
	case '\t', '\n', '\v', '\f', '\r', ' ', 0xA0, 0x2028, 0x2029, 0xFEFF:
		return true
	}
	return r > 0xFF && unicode.Is(unicode.Zs, r)
}
