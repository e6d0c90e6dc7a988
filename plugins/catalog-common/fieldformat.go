package catalogcommon

import "strings"

// FieldFormat decides whether a string is a valid value for a field.
type FieldFormat struct {
	// Valid reports whether the value has the format.
	Valid func(value string) bool
	// Expects completes the sentence "expected ..." in error messages. It may
	// be empty.
	Expects string
}

// Validators are the field formats of the policy stage. The zero value has the
// default formats; a field with a Valid function replaces the default one.
type Validators struct {
	APIVersion      FieldFormat
	Kind            FieldFormat
	EntityName      FieldFormat
	Namespace       FieldFormat
	LabelKey        FieldFormat
	LabelValue      FieldFormat
	AnnotationKey   FieldFormat
	AnnotationValue FieldFormat
	Tag             FieldFormat
}

const (
	expectsName      = "a string that is sequences of [a-zA-Z0-9] separated by any of [-_.], at most 63 characters in total"
	expectsParts     = "a valid prefix and/or suffix"
	expectsNamespace = "a string that is sequences of [a-z0-9] separated by [-], at most 63 characters in total"
	expectsTag       = "a string that is sequences of [a-z0-9+#] separated by [-], at most 63 characters in total"
	expectsKind      = "a string that is a sequence of [a-zA-Z][a-z0-9A-Z], at most 63 characters in total"
	expectsURL       = "a string that is a valid url"
	expectsText      = "a non empty string"
)

// DefaultValidators returns the formats that the catalog uses unless told otherwise.
func DefaultValidators() Validators {
	return Validators{
		APIVersion:      FieldFormat{IsAPIVersion, expectsParts},
		Kind:            FieldFormat{IsKind, expectsKind},
		EntityName:      FieldFormat{IsObjectName, expectsName},
		Namespace:       FieldFormat{IsDNSLabel, expectsNamespace},
		LabelKey:        FieldFormat{IsPrefixedName, expectsParts},
		LabelValue:      FieldFormat{func(s string) bool { return s == "" || IsObjectName(s) }, expectsName},
		AnnotationKey:   FieldFormat{IsPrefixedName, expectsParts},
		AnnotationValue: FieldFormat{func(string) bool { return true }, "a string"},
		Tag:             FieldFormat{IsTag, expectsTag},
	}
}

// With returns v with every format replaced that other sets.
func (v Validators) With(other Validators) Validators {
	for _, pair := range [...]struct{ to, from *FieldFormat }{
		{&v.APIVersion, &other.APIVersion},
		{&v.Kind, &other.Kind},
		{&v.EntityName, &other.EntityName},
		{&v.Namespace, &other.Namespace},
		{&v.LabelKey, &other.LabelKey},
		{&v.LabelValue, &other.LabelValue},
		{&v.AnnotationKey, &other.AnnotationKey},
		{&v.AnnotationValue, &other.AnnotationValue},
		{&v.Tag, &other.Tag},
	} {
		if pair.from.Valid != nil {
			*pair.to = *pair.from
		}
	}
	return v
}

const maxName = 63

func isLower(c byte) bool  { return 'a' <= c && c <= 'z' }
func isLetter(c byte) bool { return isLower(c | 0x20) }
func isDigit(c byte) bool  { return '0' <= c && c <= '9' }

// IsObjectName reports whether s is 1 to 63 letters, digits, dashes,
// underscores and dots, beginning and ending with a letter or digit.
func IsObjectName(s string) bool {
	if s == "" || len(s) > maxName {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if isLetter(c) || isDigit(c) {
			continue
		}
		if c != '-' && c != '_' && c != '.' || i == 0 || i == len(s)-1 {
			return false
		}
	}
	return true
}

// IsDNSLabel reports whether s is 1 to 63 lower-case letters, digits and
// dashes, beginning and ending with a letter or digit.
func IsDNSLabel(s string) bool {
	if s == "" || len(s) > maxName || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; !isLower(c) && !isDigit(c) && c != '-' {
			return false
		}
	}
	return true
}

// IsDNSSubdomain reports whether s is 1 to 253 characters of DNS labels with
// dots between them.
func IsDNSSubdomain(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if !IsDNSLabel(label) {
			return false
		}
	}
	return true
}

// IsAPIVersion reports whether s is a version of 1 to 63 letters and digits,
// optionally behind a DNS subdomain and a slash: "v1", "backstage.io/v1alpha1".
func IsAPIVersion(s string) bool {
	prefix, version, prefixed := strings.Cut(s, "/")
	if !prefixed {
		version = s
	} else if !IsDNSSubdomain(prefix) {
		return false
	}
	if version == "" || len(version) > maxName {
		return false
	}
	for i := 0; i < len(version); i++ {
		if c := version[i]; !isLetter(c) && !isDigit(c) {
			return false
		}
	}
	return true
}

// IsKind reports whether s is 1 to 63 letters and digits, beginning with a letter.
func IsKind(s string) bool {
	if s == "" || len(s) > maxName || !isLetter(s[0]) {
		return false
	}
	for i := 1; i < len(s); i++ {
		if c := s[i]; !isLetter(c) && !isDigit(c) {
			return false
		}
	}
	return true
}

// IsPrefixedName reports whether s is an object name, optionally behind a DNS
// subdomain and a slash. It is the format of label and annotation keys.
func IsPrefixedName(s string) bool {
	prefix, name, prefixed := strings.Cut(s, "/")
	if !prefixed {
		return IsObjectName(s)
	}
	return IsDNSSubdomain(prefix) && IsObjectName(name)
}

// IsTag reports whether s is 1 to 63 lower-case letters, digits, colons, plus
// and hash signs, with single dashes between them.
func IsTag(s string) bool {
	if s == "" || len(s) > maxName {
		return false
	}
	dash := true // as if one stood before the first character
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case isLower(c) || isDigit(c) || c == ':' || c == '+' || c == '#':
			dash = false
		case c == '-' && !dash:
			dash = true
		default:
			return false
		}
	}
	return !dash
}
