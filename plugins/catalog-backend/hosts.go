package catalogbackend

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/integration"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/processors"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// sameRepository compares URLs of hosts that are known.
func sameRepository(hosts *integration.Hosts) processors.SameRepository {
	return func(a, b string) (same, known bool) {
		la, errA := hosts.Parse(a)
		lb, errB := hosts.Parse(b)
		if errA != nil || errB != nil || la.Path == "" || lb.Path == "" {
			return false, false
		}
		return la.SameRepository(lb), true
	}
}

func editURL(hosts *integration.Hosts) processors.EditURL {
	return func(u string) (string, bool) {
		if _, known := hosts.Kind(u); !known {
			return "", false
		}
		edit, err := hosts.EditURL(u)
		return edit, err == nil
	}
}

// newAnalyzer returns what analyzes locations: what a module set, or the
// default.
func (x *extensions) newAnalyzer(hosts *integration.Hosts) (analysisAPI, error) {
	if x.analysis == nil {
		return analysisAPI{defaultAnalyzer{hosts, x.analyzers}}, nil
	}
	a, err := x.analysis(slices.Clone(x.analyzers))
	if err == nil && a == nil {
		err = errors.New("the factory returned nothing")
	}
	if err != nil {
		return analysisAPI{}, fmt.Errorf("the analyzer of locations that a module set: %w", err)
	}
	return analysisAPI{a}, nil
}

// analysisAPI gives an analysis the shape that it has on the wire. It
// implements api.Analyzer.
type analysisAPI struct{ analyzer catalognode.Analyzer }

// Analyze implements api.Analyzer.
func (a analysisAPI) Analyze(ctx context.Context, target, filename string) (any, error) {
	out, err := a.analyzer.Analyze(ctx, target, filename)
	if err != nil {
		return nil, err
	}
	if out.Existing == nil {
		out.Existing = []catalognode.AnalyzedEntity{}
	}
	if out.Generated == nil {
		out.Generated = []catalognode.GeneratedEntity{}
	}
	for i := range out.Generated {
		if out.Generated[i].Fields == nil {
			out.Generated[i].Fields = []map[string]any{}
		}
	}
	return out, nil
}

// defaultAnalyzer asks the first analyzer that knows the host for the catalog
// files that are there, and drafts an entity where there are none. It
// implements [catalognode.Analyzer].
type defaultAnalyzer struct {
	hosts *integration.Hosts
	added []catalognode.LocationAnalyzer
}

// slugAnnotations are the annotations by which entities name the repository
// that they live in.
var slugAnnotations = map[integration.Kind]string{
	integration.KindGitHub:          "github.com/project-slug",
	integration.KindGitLab:          "gitlab.com/project-slug",
	integration.KindAzure:           "dev.azure.com/project-slug",
	integration.KindBitbucketCloud:  "bitbucket.org/project-slug",
	integration.KindBitbucketServer: "bitbucket.org/project-slug",
}

// Analyze implements [catalognode.Analyzer].
func (a defaultAnalyzer) Analyze(ctx context.Context, target, filename string) (out catalognode.LocationAnalysis, err error) {
	u, err := url.Parse(target)
	if err != nil || u.Scheme == "" || u.Host == "" {
		return out, apierr.Input("The given location.target is not a URL")
	}
	if i := slices.IndexFunc(a.added, func(l catalognode.LocationAnalyzer) bool { return l.Supports(target) }); i >= 0 {
		files, err := a.added[i].Existing(ctx, target, filename)
		if err != nil {
			return out, err
		}
		for _, f := range files {
			e := catalognode.AnalyzedEntity{IsRegistered: f.IsRegistered, Entity: f.Entity}
			e.Location.Type, e.Location.Target = f.Location.Type, f.Location.Target
			out.Existing = append(out.Existing, e)
		}
		if len(files) > 0 {
			return out, nil
		}
	}
	metadata := map[string]any{"name": path.Base(strings.TrimSuffix(u.Path, "/"))}
	if l, err := a.hosts.Parse(target); err == nil {
		metadata["name"] = l.Repo
		if name, ok := slugAnnotations[l.Kind]; ok {
			metadata["annotations"] = map[string]any{name: l.FullName()}
		}
	}
	out.Generated = []catalognode.GeneratedEntity{{Entity: catalogcommon.Entity{
		"apiVersion": catalogcommon.APIVersionV1alpha1,
		"kind":       "Component",
		"metadata":   metadata,
		"spec":       map[string]any{"type": "other", "lifecycle": "unknown"},
	}}}
	return out, nil
}
