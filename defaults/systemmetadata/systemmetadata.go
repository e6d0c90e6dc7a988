// Package systemmetadata knows the plugins of a whole deployment: those that
// are installed in this backend, and those for which discovery.endpoints has
// an address elsewhere. It follows changes of the configuration.
//
//	plugins := core.RootSystemMetadata.From(env)().Plugins()
package systemmetadata

import (
	"context"
	"slices"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
)

// Factory makes the default system metadata.
var Factory = backend.NewRootServiceFactory(core.RootSystemMetadata, func(env *backend.RootEnv) backend.MakeFunc[core.SystemMetadata] {
	config, instance := core.RootConfig.From(env), core.InstanceMetadata.From(env)
	return func(context.Context) (core.SystemMetadata, error) {
		installed := func() []string {
			var ids []string
			for _, p := range instance().Status().Plugins {
				ids = append(ids, p.ID)
			}
			return ids
		}
		m := New(config(), installed)
		if _, err := m.elsewhere(); err != nil {
			return nil, err
		}
		return m, nil
	}
})

// Metadata implements [core.SystemMetadata].
type Metadata struct {
	config    core.Config
	installed func() []string
}

var _ core.SystemMetadata = (*Metadata)(nil)

// New returns the metadata of a deployment of which one backend has the
// installed plugins.
func New(config core.Config, installed func() []string) *Metadata {
	return &Metadata{config: config, installed: installed}
}

// Plugins implements [core.SystemMetadata]. The endpoint "*", which stands
// for all other plugins, is no plugin and is left out; endpoints that are
// not valid any more after a change of the configuration are ignored, as
// discovery reports them.
func (m *Metadata) Plugins() []string {
	ids, _ := m.elsewhere() // what could be read counts
	ids = append(ids, m.installed()...)
	slices.Sort(ids)
	return slices.Compact(ids)
}

// elsewhere returns the plugins that have endpoints.
func (m *Metadata) elsewhere() ([]string, error) {
	endpoints, err := m.config.List("discovery.endpoints")
	if err != nil {
		return nil, err
	}
	var ids []string
	var problem error
	for _, endpoint := range endpoints {
		plugins, err := endpoint.Strings("plugins")
		if err != nil && problem == nil {
			problem = err
		}
		for _, id := range plugins {
			if id != "*" {
				ids = append(ids, id)
			}
		}
	}
	return ids, problem
}
