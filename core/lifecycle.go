package core

import "github.com/flytower/flytower/backend"

// Services that the backend itself provides; they are listed here so that
// plugins find all core services in one place.
var (
	// Lifecycle has the start and stop hooks and the owned goroutines of a
	// plugin.
	Lifecycle = backend.PluginLifecycle
	// RootLifecycle has the hooks of the backend.
	RootLifecycle = backend.BackendLifecycle
	// PluginMetadata tells a service which plugin it serves.
	PluginMetadata = backend.PluginMetadata
	// InstanceMetadata tells what is installed in this backend and how it is
	// doing.
	InstanceMetadata = backend.InstanceMetadata
	// StartupPolicy decides which plugins and modules may fail to start.
	StartupPolicy = backend.StartupPolicies
)

// SystemMetadata knows the plugins of the whole deployment: those of this
// backend and those that discovery places elsewhere.
type SystemMetadata interface {
	// Plugins returns the sorted ids without repetition.
	Plugins() []string
}

// RootSystemMetadata is the service of [SystemMetadata].
var RootSystemMetadata = backend.NewRootServiceRef[SystemMetadata]("core.rootSystemMetadata")
