package engine

import (
	"errors"

	"github.com/flytower/flytower/apierr"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	"github.com/flytower/flytower/plugins/catalog-common/schema"
)

// describe returns an error as it is kept and shown, with the place in the
// entity that it is about, where that is known: pointer is a JSON pointer
// (RFC 6901), field a dotted path.
func describe(err error) map[string]any {
	out := apierr.Serialize(err)
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
