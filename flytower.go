// Package flytower is a backend with all default services: the counterpart of
// [backend.New], which has none.
//
//	func main() {
//		b := flytower.New()
//		b.Add(catalogbackend.Plugin, greeter.Plugin)
//		err := b.Run(context.Background())
//		if err != nil {
//			fmt.Fprintln(os.Stderr, err)
//		}
//		os.Exit(backend.ExitCode(err))
//	}
//
// Adding a factory for a service replaces its default. Package command gives
// a main package the whole command line of the flytower command.
package flytower

import (
	"fmt"
	"os"
	"slices"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/defaults/actions"
	"github.com/flytower/flytower/defaults/actionsregistry"
	"github.com/flytower/flytower/defaults/auditor"
	"github.com/flytower/flytower/defaults/auth"
	"github.com/flytower/flytower/defaults/cache"
	"github.com/flytower/flytower/defaults/database"
	"github.com/flytower/flytower/defaults/discovery"
	"github.com/flytower/flytower/defaults/events"
	"github.com/flytower/flytower/defaults/httpauth"
	"github.com/flytower/flytower/defaults/httprouter"
	"github.com/flytower/flytower/defaults/logger"
	"github.com/flytower/flytower/defaults/metrics"
	"github.com/flytower/flytower/defaults/permissions"
	"github.com/flytower/flytower/defaults/permissionsregistry"
	"github.com/flytower/flytower/defaults/pluginclient"
	"github.com/flytower/flytower/defaults/rootconfig"
	"github.com/flytower/flytower/defaults/roothealth"
	"github.com/flytower/flytower/defaults/roothttprouter"
	"github.com/flytower/flytower/defaults/rootlogger"
	"github.com/flytower/flytower/defaults/scheduler"
	"github.com/flytower/flytower/defaults/startuppolicy"
	"github.com/flytower/flytower/defaults/statuspage"
	"github.com/flytower/flytower/defaults/systemmetadata"
	"github.com/flytower/flytower/defaults/telemetry"
	"github.com/flytower/flytower/defaults/tracing"
	"github.com/flytower/flytower/defaults/urlreader"
	"github.com/flytower/flytower/defaults/userinfo"
	"github.com/flytower/flytower/internal/ownprocess"
)

// Option customises [New].
type Option func(*options)

type options struct {
	config  rootconfig.Options
	backend []backend.Option
}

// WithConfig chooses where the configuration is read from. The default is the
// command line and the environment, as package rootconfig tells.
func WithConfig(o rootconfig.Options) Option { return func(all *options) { all.config = o } }

// WithBackend passes options to [backend.New].
func WithBackend(o ...backend.Option) Option {
	return func(all *options) { all.backend = append(all.backend, o...) }
}

// New returns a backend with all default services.
//
// In a process that a backend started for one piece of work, such as a task of
// the scaffolder (scaffolder.taskIsolation), it returns one that does that work
// and exits. A main package has to add the same features then; what it does
// besides is done in such a process, too.
func New(opts ...Option) *backend.Backend {
	child, err := ownprocess.Accept()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if child != nil {
		return taskBackend(child)
	}
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	o.config.Schemas = append(slices.Clone(o.config.Schemas), ConfigSchemas()...)
	b := backend.New(append([]backend.Option{backend.WithDefaults(Defaults(o.config)...)}, o.backend...)...)
	return b.Add(telemetry.MeasureHTTP)
}

// Defaults returns the default factory of every core service.
func Defaults(config rootconfig.Options) []backend.ServiceFactory {
	return []backend.ServiceFactory{
		rootconfig.NewFactory(config),
		rootlogger.Factory,
		startuppolicy.Factory,
		systemmetadata.Factory,
		roothealth.Factory,
		roothttprouter.Factory,
		actions.Factory,
		actionsregistry.Factory,
		auth.Factory,
		cache.Factory,
		database.Factory,
		discovery.Factory,
		events.Factory,
		httpauth.Factory,
		httprouter.Factory,
		logger.Factory,
		permissions.Factory,
		permissionsregistry.Factory,
		pluginclient.Factory,
		scheduler.Factory,
		urlreader.Factory,
		userinfo.Factory,
		auditor.Factory,
		telemetry.Factory,
		telemetry.EndpointFactory,
		metrics.Factory,
		tracing.Factory,
		statuspage.Factory,
	}
}

// ConfigSchemas returns the JSON Schemas of the configuration that the
// default services read.
func ConfigSchemas() []string {
	return []string{
		actionsregistry.ConfigSchema,
		auditor.ConfigSchema,
		auth.ConfigSchema,
		cache.ConfigSchema,
		database.ConfigSchema,
		discovery.ConfigSchema,
		events.ConfigSchema,
		httprouter.ConfigSchema,
		metrics.ConfigSchema,
		permissions.ConfigSchema,
		roothttprouter.ConfigSchema,
		rootlogger.ConfigSchema,
		startuppolicy.ConfigSchema,
		statuspage.ConfigSchema,
		telemetry.ConfigSchema,
		tracing.ConfigSchema,
		urlreader.ConfigSchema,
	}
}
