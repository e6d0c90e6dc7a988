package catalogbackend

import (
	"context"
	"net/url"
	"path"
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

// analyzer looks at locations that users may want to register. It implements
// api.Analyzer.
type analyzer struct {
	hosts *integration.Hosts
	more  []catalognode.LocationAnalyzer
}

func newAnalyzer(hosts *integration.Hosts, more []catalognode.LocationAnalyzer) *analyzer {
	return &analyzer{hosts, more}
}

type analysis struct {
	Existing []existingFile    `json:"existingEntityFiles"`
	Generate []generatedEntity `json:"generateEntities"`
}

type existingFile struct {
	Location     location             `json:"location"`
	IsRegistered bool                 `json:"isRegistered"`
	Entity       catalogcommon.Entity `json:"entity"`
}

type location struct {
	Type   string `json:"type"`
	Target string `json:"target"`
}

type generatedEntity struct {
	Entity catalogcommon.Entity `json:"entity"`
	Fields []any                `json:"fields"`
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

// Analyze returns the catalog files that are at the target, or a draft of an
// entity to put there.
func (a *analyzer) Analyze(ctx context.Context, target, filename string) (any, error) {
	u, err := url.Parse(target)
	if err != nil || u.Scheme == "" || u.Host == "" {
		return nil, apierr.Input("The given location.target is not a URL")
	}
	out := analysis{Existing: []existingFile{}, Generate: []generatedEntity{}}
	for _, more := range a.more {
		if !more.Supports(target) {
			continue
		}
		files, err := more.Existing(ctx, target, filename)
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			out.Existing = append(out.Existing, existingFile{location{f.Location.Type, f.Location.Target}, f.IsRegistered, f.Entity})
		}
		if len(files) > 0 {
			return out, nil
		}
		break
	}
	metadata := map[string]any{"name": path.Base(strings.TrimSuffix(u.Path, "/"))}
	if l, err := a.hosts.Parse(target); err == nil {
		metadata["name"] = l.Repo
		if name, ok := slugAnnotations[l.Kind]; ok {
			metadata["annotations"] = map[string]any{name: l.FullName()}
		}
	}
	out.Generate = append(out.Generate, generatedEntity{Fields: []any{}, Entity: catalogcommon.Entity{
		"apiVersion": "backstage.io/v1alpha1",
		"kind":       "Component",
		"metadata":   metadata,
		"spec":       map[string]any{"type": "other", "lifecycle": "unknown"},
	}})
	return out, nil
}
