package backend

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// The outcomes of a start, as in [Result].
const (
	OutcomeSuccess = "success"
	OutcomeFailure = "failure"
)

// Result says how a start went. Plugins and their modules are in the order in
// which they completed.
type Result struct {
	BeginAt  time.Time      `json:"beginAt,omitzero"`
	ResultAt time.Time      `json:"resultAt,omitzero"`
	Outcome  string         `json:"outcome,omitempty"` // OutcomeSuccess, OutcomeFailure, or empty while starting
	Plugins  []PluginResult `json:"plugins"`
}

// PluginResult says how the start of a plugin went.
type PluginResult struct {
	PluginID string         `json:"pluginId"`
	ResultAt time.Time      `json:"resultAt,omitzero"`
	Failure  *Failure       `json:"failure,omitempty"`
	Modules  []ModuleResult `json:"modules"`
}

// ModuleResult says how the start of a module went.
type ModuleResult struct {
	ModuleID string    `json:"moduleId"`
	ResultAt time.Time `json:"resultAt,omitzero"`
	Failure  *Failure  `json:"failure,omitempty"`
}

// Failure is why a plugin or module did not start. Allowed says whether the
// startup policy lets the backend start without it.
type Failure struct {
	Err     error
	Allowed bool
}

// MarshalJSON renders the error as an object with its message.
func (f *Failure) MarshalJSON() ([]byte, error) {
	type errorJSON struct {
		Message string `json:"message"`
	}
	return json.Marshal(struct {
		Error   errorJSON `json:"error"`
		Allowed bool      `json:"allowed"`
	}{errorJSON{f.Err.Error()}, f.Allowed})
}

// StartupError is returned by [Backend.Start] when something that must start
// did not. What had started was stopped again.
type StartupError struct {
	Result Result
	// Cause is why the start ended before or outside of the plugins: a root
	// service or a feature loader that failed, or a context that ended. It is
	// nil when only plugins or modules failed.
	Cause error
	// Stop is what went wrong while stopping what had started, or nil.
	Stop error
}

func (e *StartupError) Error() string {
	var b strings.Builder
	b.WriteString("the backend did not start")
	if e.Cause != nil {
		fmt.Fprintf(&b, ": %s", indent(e.Cause.Error()))
	}
	for _, p := range e.Result.Plugins {
		if p.Failure != nil && !p.Failure.Allowed {
			fmt.Fprintf(&b, "\n  Plugin '%s' startup failed; caused by %s", p.PluginID, indent(p.Failure.Err.Error()))
		}
		for _, m := range p.Modules {
			if m.Failure != nil && !m.Failure.Allowed {
				fmt.Fprintf(&b, "\n  Module '%s' for plugin '%s' startup failed; caused by %s", m.ModuleID, p.PluginID, indent(m.Failure.Err.Error()))
			}
		}
	}
	if e.Stop != nil {
		fmt.Fprintf(&b, "\n  while stopping again: %s", indent(e.Stop.Error()))
	}
	return b.String()
}

// Unwrap returns the causes, for errors.Is and errors.As.
func (e *StartupError) Unwrap() []error {
	var errs []error
	if e.Cause != nil {
		errs = append(errs, e.Cause)
	}
	for _, p := range e.Result.Plugins {
		if p.Failure != nil && !p.Failure.Allowed {
			errs = append(errs, p.Failure.Err)
		}
		for _, m := range p.Modules {
			if m.Failure != nil && !m.Failure.Allowed {
				errs = append(errs, m.Failure.Err)
			}
		}
	}
	if e.Stop != nil {
		errs = append(errs, e.Stop)
	}
	return errs
}

// indent keeps the lines of a cause below the line that it belongs to.
func indent(s string) string { return strings.ReplaceAll(s, "\n", "\n    ") }

// Result says how the start went, or goes: plugins that have not completed are
// not in it.
func (b *Backend) Result() Result {
	b.board.mu.Lock()
	defer b.board.mu.Unlock()
	r := b.result
	r.Plugins = make([]PluginResult, 0, len(b.completed))
	for _, p := range b.completed {
		pr := PluginResult{PluginID: p.id, ResultAt: p.end, Modules: make([]ModuleResult, 0, len(p.completed))}
		if p.err != nil {
			pr.Failure = &Failure{p.err, p.allowed}
		}
		for _, m := range p.completed {
			mr := ModuleResult{ModuleID: m.part.module, ResultAt: m.end}
			if m.err != nil {
				mr.Failure = &Failure{m.err, m.allowed}
			}
			pr.Modules = append(pr.Modules, mr)
		}
		r.Plugins = append(r.Plugins, pr)
	}
	return r
}
