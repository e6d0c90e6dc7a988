package engine

import (
	"encoding/json"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/utf16text"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/tasks"
)

// truncated ends texts that were cut.
const truncated = "...<truncated>"

// truncate cuts the texts in a JSON value that are longer than a number of
// UTF-16 units; a negative number cuts nothing.
func truncate(v any, most int) any {
	switch v := v.(type) {
	case string:
		if most >= 0 && utf16text.Len(v) > most {
			return utf16text.Slice(v, 0, most) + truncated
		}
	case []any:
		for i := range v {
			v[i] = truncate(v[i], most)
		}
	case map[string]any:
		for key := range v {
			v[key] = truncate(v[key], most)
		}
	}
	return v
}

// audit is what the audit log is told of a run.
func (e *Engine) audit(claim *tasks.Claim) core.AuditEvent {
	meta := map[string]any{"actionType": "execution", "taskId": claim.ID}
	if claim.CreatedBy != "" {
		meta["createdBy"] = claim.CreatedBy
	}
	if claim.Template != "" {
		meta["templateRef"] = claim.Template
	}
	var spec struct {
		Parameters any `json:"parameters"`
	}
	if json.Unmarshal(claim.Spec, &spec) == nil {
		meta["taskParameters"] = truncate(spec.Parameters, e.MaxAudited)
	}
	return core.AuditEvent{ID: "task", Severity: core.SeverityMedium, Meta: meta}
}
