package core

import (
	"log/slog"

	"github.com/flytower/flytower/backend"
)

// RootLogger is the logger of the backend. Known secrets are replaced in
// everything that it writes.
var RootLogger = backend.RootLogger

// Logger is the logger of a plugin: the root logger with the field "plugin".
var Logger = backend.NewServiceRef[*slog.Logger]("core.logger")
