package main

import (
	"fmt"
	"strings"

	"github.com/flytower/flytower/internal/jsonvalue"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	"github.com/flytower/flytower/plugins/catalog-common/entityyaml"
	"github.com/flytower/flytower/plugins/catalog-common/kinds"
)

type report struct {
	files, documents, values int
	verdicts                 map[string]int
	deviations               []deviation
}

type deviation struct {
	key    deviationKey
	detail string
}

// outcome is what this implementation makes of one document.
type outcome struct {
	verdict
	value  any
	parsed bool
}

func compare(data *dataSet) *report {
	r := &report{verdicts: map[string]int{}}
	judge := newJudge()
	for _, file := range data.files {
		r.files++
		var got []outcome
		for doc := range entityyaml.Documents(data.texts[file], entityyaml.Options{}) {
			if doc.Err == nil && doc.Value == nil {
				continue // an empty document is no document
			}
			got = append(got, judge.document(doc))
		}
		want := data.want[file]
		for i := range max(len(got), len(want)) {
			r.documents++
			deviate := func(aspect, format string, args ...any) {
				r.deviations = append(r.deviations, deviation{deviationKey{file, i, aspect}, fmt.Sprintf(format, args...)})
			}
			switch {
			case i >= len(got):
				deviate("verdict", "document is missing, expected %s", want[i].Result)
				continue
			case i >= len(want):
				deviate("verdict", "unexpected document: %s %s", got[i].Result, got[i].Message)
				continue
			}
			r.verdicts[got[i].Result]++
			r.compareVerdict(deviate, got[i], want[i])
			r.compareValue(deviate, got[i], data.values[file], i)
		}
	}
	return r
}

func (r *report) compareVerdict(deviate func(aspect, format string, args ...any), got outcome, want verdict) {
	switch {
	case got.Result != want.Result:
		deviate("verdict", "%s %s, expected %s %s", got.Result, got.Message, want.Result, want.Message)
		return
	case want.Ref != "" && got.Ref != want.Ref:
		deviate("verdict", "ref %s, expected %s", got.Ref, want.Ref)
	case want.Kind != "" && got.Kind != want.Kind:
		deviate("verdict", "kind %s, expected %s", got.Kind, want.Kind)
	case want.APIVersion != "" && got.APIVersion != want.APIVersion:
		deviate("verdict", "apiVersion %s, expected %s", got.APIVersion, want.APIVersion)
	}
	switch got.Result {
	case "parse-error":
		// The words are the parser's own; the line must be the same.
		if g, w := lineOf(got.Message), lineOf(want.Message); g != w {
			deviate("message", "%q is at line %q, expected %q", got.Message, g, w)
		}
	case "policy-error", "kind-error":
		// The record may cut long messages.
		if want.Message == "" || !strings.HasPrefix(got.Message, want.Message) {
			deviate("message", "%q, expected %q", got.Message, want.Message)
		}
	}
}

func (r *report) compareValue(deviate func(aspect, format string, args ...any), got outcome, values map[int]any, index int) {
	want, recorded := values[index]
	switch {
	case recorded != got.parsed:
		deviate("value", "parsed is %t, expected %t", got.parsed, recorded)
	case recorded:
		r.values++
		if path, ok := difference("", got.value, want); !ok {
			deviate("value", "differs at %s", path)
		}
	}
}

// lineOf returns the number behind "at line", or "".
func lineOf(message string) string {
	_, rest, _ := strings.Cut(message, "at line ")
	line, _, _ := strings.Cut(rest, ",")
	return line
}

// difference returns a path at which two values differ.
func difference(path string, got, want any) (string, bool) {
	g, gok := got.(map[string]any)
	w, wok := want.(map[string]any)
	if gok && wok {
		for k := range g {
			if _, ok := w[k]; !ok {
				return path + "." + k + " (unexpected)", false
			}
		}
		for k := range w {
			if _, ok := g[k]; !ok {
				return path + "." + k + " (missing)", false
			}
			if at, ok := difference(path+"."+k, g[k], w[k]); !ok {
				return at, false
			}
		}
		return "", true
	}
	gl, gok := got.([]any)
	wl, wok := want.([]any)
	if gok && wok && len(gl) == len(wl) {
		for i := range gl {
			if at, ok := difference(fmt.Sprintf("%s[%d]", path, i), gl[i], wl[i]); !ok {
				return at, false
			}
		}
		return "", true
	}
	if !jsonvalue.Equal(got, want) {
		return fmt.Sprintf("%s: %s, expected %s", path, jsonvalue.Append(nil, got), jsonvalue.Append(nil, want)), false
	}
	return "", true
}

// judge takes documents through the stages that need nothing but the document.
type judge struct {
	policy catalogcommon.Policy
	kinds  *kinds.Set
}

func newJudge() *judge {
	return &judge{
		policy: catalogcommon.DefaultPolicy(catalogcommon.Validators{}),
		kinds:  kinds.NewSet(append(kinds.Core(), kinds.Template())...),
	}
}

func (j *judge) document(doc entityyaml.Document) outcome {
	e, err := doc.Entity()
	if err != nil {
		return outcome{verdict: verdict{Result: "parse-error", Message: err.Error()}}
	}
	out := outcome{value: jsonvalue.Clone(doc.Value), parsed: true}
	out.Kind, out.APIVersion = e.Kind(), e.APIVersion()
	if err := catalogcommon.ValidateEnvelope(e); err != nil {
		out.Result, out.Message = "policy-error", err.Error()
		return out
	}
	if err := j.policy(e); err != nil {
		out.Result, out.Message = "policy-error", err.Error()
		return out
	}
	out.Ref = e.Ref().String()
	switch known, err := j.kinds.Validate(e); {
	case err != nil:
		out.Result, out.Message = "kind-error", err.Error()
	case !known:
		out.Result = "no-builtin-kind"
	default:
		out.Result = "ok"
	}
	return out
}
