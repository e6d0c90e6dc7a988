// Package welcomebackend is the welcome plugin: it welcomes users of the
// catalog in their language. It shows how a plugin uses others.
//
//	GET /api/welcome/users/{namespace}/{name}
package welcomebackend

import (
	"context"
	"fmt"
	"net/http"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	greeternode "github.com/flytower/flytower/examples/greeter/plugins/greeter-node"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// LanguageAnnotation is the annotation with the language of a user.
const LanguageAnnotation = "greeter.example.com/language"

// Plugin is the welcome plugin. It needs the clients of two other plugins, and
// neither their implementations nor their presence in this backend: the same
// plugin works when they run elsewhere.
var Plugin = backend.NewPlugin("welcome", func(env *backend.PluginEnv) backend.InitFunc {
	router, auth := core.HTTPRouter.From(env), core.HTTPAuth.From(env)
	catalog, greetings := catalognode.Catalog.From(env), greeternode.Greetings.From(env)

	return func(context.Context) error {
		w := &welcome{catalog: catalog(), greetings: greetings()}
		router().HandleErr("GET /users/{namespace}/{name}", func(rw http.ResponseWriter, r *http.Request) error {
			who, err := auth().Credentials(r, core.Allow{User: true, Service: true})
			if err != nil {
				return err
			}
			text, err := w.user(r.Context(), "user:"+r.PathValue("namespace")+"/"+r.PathValue("name"), who)
			if err != nil {
				return err
			}
			apierr.WriteJSON(rw, http.StatusOK, map[string]string{"text": text})
			return nil
		})
		return nil
	}
}, backend.WithDescription("Welcomes users of the catalog in their language."))

type welcome struct {
	catalog   catalognode.Client
	greetings greeternode.Client
}

// user asks the other plugins on behalf of who asks this one, so that each of
// them decides what the caller may see.
func (w *welcome) user(ctx context.Context, ref string, who core.Credentials) (string, error) {
	entity, err := w.catalog.EntityByRef(ctx, ref, who)
	if err != nil {
		return "", fmt.Errorf("look %s up: %w", ref, err)
	}
	if entity == nil {
		return "", apierr.NotFound("the catalog has no %s", ref)
	}
	language := entity.Annotation(LanguageAnnotation)
	if language == "" {
		language = "en"
	}
	greeting, err := w.greetings.Greeting(ctx, language, who)
	if err != nil {
		return "", fmt.Errorf("greet in %q: %w", language, err)
	}
	return greeting.Text + ", " + entity.Name(), nil
}
