package auditor

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/flytower/flytower/core"
)

// ConfigSchema describes the configuration of the auditor.
const ConfigSchema = `{
  "$schema": "http://json-schema.org/draft-07/schema#",
  "type": "object",
  "properties": {
    "backend": {
      "type": "object",
      "properties": {
        "auditor": {
          "type": "object",
          "description": "The audit trail.",
          "properties": {
            "severityLogLevelMappings": {
              "type": "object",
              "description": "Log levels of the severities of audit events: debug, info, warn or error. A level below that of the log hides its events.",
              "properties": {
                "low": { "type": "string", "enum": ["debug", "info", "warn", "error"], "default": "debug", "description": "Level of events of low severity. Default: debug." },
                "medium": { "type": "string", "enum": ["debug", "info", "warn", "error"], "default": "info", "description": "Level of events of medium severity. Default: info." },
                "high": { "type": "string", "enum": ["debug", "info", "warn", "error"], "default": "info", "description": "Level of events of high severity. Default: info." },
                "critical": { "type": "string", "enum": ["debug", "info", "warn", "error"], "default": "info", "description": "Level of events of critical severity. Default: info." }
              }
            }
          }
        }
      }
    }
  }
}`

// Levels are the log levels of severities.
type Levels map[core.Severity]slog.Level

// DefaultLevels returns the levels that apply where none are configured.
func DefaultLevels() Levels {
	return Levels{
		core.SeverityLow: slog.LevelDebug, core.SeverityMedium: slog.LevelInfo,
		core.SeverityHigh: slog.LevelInfo, core.SeverityCritical: slog.LevelInfo,
	}
}

// ReadLevels reads backend.auditor.severityLogLevelMappings.
func ReadLevels(config core.Config) (Levels, error) {
	mappings, levels := config.Sub("backend.auditor.severityLogLevelMappings"), DefaultLevels()
	names := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	for severity := range levels {
		name, err := mappings.StringOr(string(severity), "")
		if err != nil {
			return nil, err
		}
		if name == "" {
			continue
		}
		level, ok := names[name]
		if !ok {
			return nil, &core.ConfigError{
				Key: mappings.Path(string(severity)), Position: mappings.Position(string(severity)),
				Problem: fmt.Sprintf("is %q, which is no log level", name), Remedy: "use debug, info, warn or error",
			}
		}
		levels[severity] = level
	}
	return levels, nil
}

// of returns the level of a severity: that of critical events, if it has none.
func (l Levels) of(severity core.Severity) slog.Level {
	if level, ok := l[severity]; ok {
		return level
	}
	return l[core.SeverityCritical]
}

// LogSink returns a sink that writes to the logger of the plugin, whose name
// the lines have from it. A severity without a level has that of critical
// events.
func LogSink(log *slog.Logger, levels Levels) Sink {
	log = log.With("isAuditEvent", true)
	return func(ctx context.Context, r Record) {
		level := levels.of(r.Severity)
		if !log.Enabled(ctx, level) {
			return
		}
		attrs := []slog.Attr{
			slog.String("eventId", r.EventID), slog.String("severityLevel", string(r.Severity)),
			slog.Any("actor", r.Actor), slog.String("status", string(r.Status)),
		}
		if r.Request != nil {
			attrs = append(attrs, slog.Any("request", *r.Request))
		}
		if len(r.Meta) > 0 {
			attrs = append(attrs, slog.Any("meta", r.Meta))
		}
		if r.Error != "" {
			attrs = append(attrs, slog.String("error", r.Error))
		}
		log.LogAttrs(ctx, level, r.Plugin+"."+r.EventID, attrs...)
	}
}
