package scaffolderbackend

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/ownprocess"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/engine"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/isolation"
)

// isolationSettings are scaffolder.taskIsolation.
type isolationSettings struct{ isolation.Settings }

const isolationKey = "scaffolder.taskIsolation"

// checkIsolation finds the mistakes that the schema does not know of.
func checkIsolation(c core.Config) error {
	_, err := readIsolation(c)
	return err
}

// readIsolation returns nil if tasks run in the backend.
func readIsolation(c core.Config) (*isolationSettings, error) {
	const modeKey = isolationKey + ".mode"
	wrong := func(key, format string, args ...any) error {
		return &core.ConfigError{Key: c.Path(key), Position: c.Position(key), Problem: fmt.Sprintf(format, args...)}
	}
	switch mode, err := c.StringOr(modeKey, "none"); {
	case err != nil:
		return nil, err
	case mode == "none":
		return nil, nil
	case mode != "process":
		return nil, wrong(modeKey, "is %q; it is none or process", mode)
	}
	if err := ownprocess.Supported(); err != nil {
		return nil, wrong(modeKey, "cannot be process here: %v", err)
	}
	sub := c.Sub(isolationKey)
	s := &isolationSettings{isolation.Settings{Config: []string{"integrations"}, Confine: true}}
	var err error
	for _, size := range []struct {
		to     *int64
		key    string
		absent int64
	}{{&s.Limits.Memory, "memory", 1 << 30}, {&s.Limits.Disk, "disk", 2 << 30}, {&s.Limits.FileSize, "fileSize", 1 << 30}} {
		if *size.to, err = readSize(sub, size.key, size.absent); err != nil {
			return nil, err
		}
	}
	if s.Limits.Memory != 0 && s.Limits.Memory < leastMemory {
		return nil, wrong(isolationKey+".memory", "must be at least %s", ownprocess.Size(leastMemory))
	}
	for _, d := range []struct {
		to     *time.Duration
		key    string
		absent time.Duration
	}{{&s.Limits.CPUTime, "cpuTime", 10 * time.Minute}, {&s.Limits.Time, "time", 0}} {
		if *d.to, err = sub.DurationOr(d.key, d.absent); err != nil {
			return nil, err
		}
		if *d.to < 0 {
			return nil, wrong(isolationKey+"."+d.key, "must not be negative")
		}
	}
	var uid, gid int
	files, processes := 0, 0
	for _, n := range []struct {
		to     *int
		key    string
		absent int
	}{{&files, "openFiles", 1024}, {&processes, "processes", 256}, {&uid, "uid", 0}, {&gid, "gid", 0}} {
		if *n.to, err = sub.IntOr(n.key, n.absent); err != nil {
			return nil, err
		}
		if *n.to < 0 || *n.to > math.MaxInt32 {
			return nil, wrong(isolationKey+"."+n.key, "must be from 0 to %d", math.MaxInt32)
		}
	}
	s.Limits.OpenFiles, s.Limits.Processes = int64(files), int64(processes)
	switch {
	case uid == 0 && gid != 0:
		return nil, wrong(isolationKey+".gid", "has no effect without %s.uid", isolationKey)
	case uid != 0 && os.Geteuid() != 0:
		return nil, wrong(isolationKey+".uid", "needs a backend that runs as root, which may change the user; remove it, or start the backend as root")
	case uid != 0:
		if gid == 0 {
			gid = uid
		}
		s.User = &ownprocess.User{UID: uint32(uid), GID: uint32(gid)} //nolint:gosec // both were compared
	}
	if s.Confine, err = sub.BoolOr("confineFiles", true); err != nil {
		return nil, err
	}
	for _, list := range []struct {
		to  *[]string
		key string
	}{{&s.Readable, "readable"}, {&s.Environment, "environment"}, {&s.Settings.Config, "config"}} {
		if sub.Has(list.key) {
			if *list.to, err = sub.Strings(list.key); err != nil {
				return nil, err
			}
		}
	}
	for _, key := range s.Settings.Config {
		for _, secret := range []string{"backend.auth", "backend.database", isolationKey, "scaffolder.taskSecrets"} {
			if key == secret || strings.HasPrefix(key, secret+".") || strings.HasPrefix(secret, key+".") {
				return nil, wrong(isolationKey+".config", "names %s; the keys and the database of the backend (%s) are never given to tasks", key, secret)
			}
		}
	}
	return s, nil
}

// leastMemory is what the program needs to start.
const leastMemory = 128 << 20

// readSize reads bytes, or a text with a unit.
func readSize(c core.Config, key string, absent int64) (int64, error) {
	v, ok := c.Value(key)
	if !ok {
		return absent, nil
	}
	wrong := func(problem string) error {
		return &core.ConfigError{Key: c.Path(key), Position: c.Position(key), Problem: problem}
	}
	text := strings.ToUpper(strings.ReplaceAll(fmt.Sprint(v), " ", ""))
	if n, ok := v.(float64); ok {
		text = strconv.FormatFloat(n, 'f', -1, 64)
	}
	unit := int64(1)
	for _, u := range []struct {
		suffixes string
		of       int64
	}{{"GB G GI GIB", 1 << 30}, {"MB M MI MIB", 1 << 20}, {"KB K KI KIB", 1 << 10}, {"B", 1}} {
		number := strings.TrimRight(text, "BGIKM")
		if suffix := text[len(number):]; suffix != "" && strings.Contains(" "+u.suffixes+" ", " "+suffix+" ") {
			unit, text = u.of, number
			break
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/unit {
		return 0, wrong(fmt.Sprintf("is %v, no size; write bytes, or a text such as 512MB", v))
	}
	return n * unit, nil
}

// runner returns what executes tasks in processes; nil if they run here.
func (s *isolationSettings) runner(local *engine.Runner, config core.Config, auth core.AuthService, discovery core.DiscoveryService, log *slog.Logger) (engine.Executor, error) {
	if s == nil {
		return nil, nil
	}
	// Tasks of the same user must not read the memory and the environment.
	if err := ownprocess.Hide(); err != nil {
		return nil, err
	}
	ctx := context.Background()
	landlock := s.Confine && ownprocess.Landlock() > 0
	if s.Confine && !landlock {
		log.WarnContext(ctx, "tasks have processes of their own, but the kernel cannot confine them to their files (Landlock): they read what their user may read")
	}
	switch root := os.Geteuid() == 0; {
	case s.User != nil:
	case root && !landlock:
		log.WarnContext(ctx, "tasks have processes of their own, but run as root, which reads everything, also of the backend; set scaffolder.taskIsolation.uid")
	case root:
		log.WarnContext(ctx, "tasks have processes of their own, but run as root, for whom limits of processes do not count; set scaffolder.taskIsolation.uid")
	case !landlock:
		log.WarnContext(ctx, "tasks run as the user of the backend: they read its files, such as its configuration, and may end it; start it as root with scaffolder.taskIsolation.uid, or on a kernel with Landlock")
	}
	return &isolation.Runner{
		Settings: s.Settings, WorkDir: local.WorkDir, Config: config, Auth: auth, Discovery: discovery, Authorize: local.Authorize,
		Workspaces: local.Workspaces, StepTimeout: local.StepTimeout, Secrets: local.Secrets, Logger: log,
	}, nil
}
