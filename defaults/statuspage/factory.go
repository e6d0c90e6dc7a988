package statuspage

import (
	"context"
	"fmt"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
)

// Ref is the service of the status page. Nothing depends on it; it is a
// service so that an installation can replace it.
var Ref = backend.NewRootServiceRef[*Page]("flytower.statusPage")

// Audience is who may see the page.
type Audience string

// The audiences of backend.statusPage.
const (
	AudienceOff      Audience = "off"
	AudienceLoopback Audience = "loopback"
	AudiencePublic   Audience = "public"
)

// Factory makes the page and mounts it.
var Factory = NewFactory()

// Option customises the page.
type Option func(*options)

type options struct {
	name     string
	audience Audience
}

// WithName sets what the page calls the backend. The default is "Flytower".
func WithName(name string) Option { return func(o *options) { o.name = name } }

// WithAudience sets who may see the page, instead of backend.statusPage.
func WithAudience(a Audience) Option { return func(o *options) { o.audience = a } }

// NewFactory returns a factory of a customised page.
func NewFactory(opts ...Option) backend.ServiceFactory {
	return backend.NewRootServiceFactory(Ref, func(env *backend.RootEnv) backend.MakeFunc[*Page] {
		config, server, instance := core.RootConfig.From(env), core.RootHTTPRouter.From(env), core.InstanceMetadata.From(env)
		return func(context.Context) (*Page, error) {
			p, err := New(config(), server(), instance(), opts...)
			if err != nil {
				return nil, err
			}
			return p, p.mount()
		}
	}, backend.Eager())
}

const configKey = "backend.statusPage"

func readAudience(c core.Config) (Audience, error) {
	v, err := c.StringOr(configKey, string(AudienceLoopback))
	if err != nil {
		return "", err
	}
	switch a := Audience(v); a {
	case AudienceOff, AudienceLoopback, AudiencePublic:
		return a, nil
	default:
		return "", &core.ConfigError{
			Key: c.Path(configKey), Position: c.Position(configKey),
			Problem: fmt.Sprintf("is %q", v), Remedy: "use off, loopback or public",
		}
	}
}

// ConfigSchema is the JSON Schema of the configuration that the page reads.
const ConfigSchema = `{
  "$schema": "http://json-schema.org/draft-07/schema#",
  "type": "object",
  "properties": {
    "backend": {
      "type": "object",
      "properties": {
        "statusPage": {
          "enum": ["off", "loopback", "public"],
          "description": "Who may see the status page, at / where no frontend is served and at /.flytower/status: requests from this machine that no proxy passed on (loopback), everybody, who then sees no errors, versions or places in the source (public), or nobody (off). Default: loopback."
        }
      }
    }
  }
}`
