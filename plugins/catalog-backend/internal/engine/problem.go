package engine

import (
	"errors"

	"github.com/flytower/flytower/apierr"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	"github.com/flytower/flytower/plugins/catalog-common/schema"
)

// place says in which file an error is, and in which of its documents (from 1)
// and line, if that is known.
func place(location string, document, line int) map[string]any {
	at := map[string]any{"location": location}
	if document > 0 {
		at["document"], at["line"] = document, line
	}
	return at
}

// located is an error at a location.
type located struct {
	error
	location string
}

func (l located) Unwrap() error { return l.error }

// Describe returns an error as it is kept and shown: with the file that it is
// about, and the place in the entity, where they are known. The pointer is a
// JSON pointer (RFC 6901), the field a dotted path.
func Describe(err error) map[string]any {
	out := apierr.Serialize(err)
	var at located
	if out["location"] == nil && errors.As(err, &at) {
		out["location"] = at.location
	}
	var issue schema.Issue
	var policy *catalogcommon.PolicyError
	switch {
	case errors.As(err, &issue) && issue.Path != "":
		out["pointer"] = issue.Path
	case errors.As(err, &policy) && policy.Field != "":
		out["field"] = policy.Field
	}
	return out
}
