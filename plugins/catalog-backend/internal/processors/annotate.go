package processors

import (
	"context"
	"regexp"

	"github.com/flytower/flytower/core"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// EditURL returns the URL under which a person edits the file at a URL; ok is
// false for a host that nothing is known about.
type EditURL func(url string) (edit string, ok bool)

// Annotate adds where an entity comes from.
type Annotate struct {
	reader core.URLReaderService
	edit   EditURL
}

// NewAnnotate returns the processor.
func NewAnnotate(reader core.URLReaderService, edit EditURL) *Annotate {
	return &Annotate{reader, edit}
}

// ProcessorName implements [catalognode.Processor].
func (*Annotate) ProcessorName() string { return "AnnotateLocationEntityProcessor" }

// commit recognises URLs of a certain commit, where nothing can be edited.
var commit = regexp.MustCompile(`\b[0-9a-f]{40,}\b`)

// PreProcess implements [catalognode.PreProcessor].
func (a *Annotate) PreProcess(_ context.Context, e catalogcommon.Entity, step catalognode.Step) (catalogcommon.Entity, error) {
	add := func(name, value string) {
		if _, ok := e.LookupAnnotation(name); !ok {
			e.SetAnnotation(name, value)
		}
	}
	add(catalogcommon.AnnotationLocation, step.Location.String())
	add(catalogcommon.AnnotationOriginLocation, step.Origin.String())
	if step.Location.Type != "url" {
		return e, nil
	}
	target := step.Location.Target
	add(catalogcommon.AnnotationViewURL, target)
	edit, known := a.edit(target)
	if !known {
		return e, nil
	}
	if !commit.MatchString(target) {
		add(catalogcommon.AnnotationEditURL, edit)
	}
	if dir, err := a.reader.Resolve("./", target); err == nil {
		add(catalogcommon.AnnotationSourceLocation, "url:"+dir)
	}
	return e, nil
}
