package actions

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/flytower/flytower/apierr"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

type debugLogInput struct {
	Message       string          `json:"message,omitempty"`
	ListWorkspace json.RawMessage `json:"listWorkspace,omitempty"`
}

const (
	// maxListed is how many files are listed, and maxShown how much of the
	// content of each is shown, in bytes.
	maxListed = 10_000
	maxShown  = 64 << 10
)

func debugLog() scaffoldernode.Action {
	a := scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: "debug:log", Description: "Writes a message, and the files of the workspace if asked to, into the log of the task.", SupportsDryRun: true,
		Examples: []scaffoldernode.ActionExample{
			example("Write a message", "steps:\n  - id: log\n    action: debug:log\n    input:\n      message: Hello ${{ parameters.name }}\n"),
			example("List the workspace", "steps:\n  - id: list\n    action: debug:log\n    input:\n      listWorkspace: with-filenames\n"),
		},
	}, func(context.Context, *scaffoldernode.ActionContext, debugLogInput) (nothing, error) {
		return nothing{}, nil
	})
	a.Run = func(_ context.Context, c *scaffoldernode.ActionContext, raw json.RawMessage) error {
		var in debugLogInput
		if err := json.Unmarshal(raw, &in); err != nil {
			return fmt.Errorf("read the input of action debug:log: %w", err)
		}
		var text bytes.Buffer
		if err := json.Indent(&text, raw, "", "  "); err != nil {
			return err
		}
		c.Logger.Info(text.String())
		if in.Message != "" {
			c.Logger.Info(in.Message)
		}
		if how := string(in.ListWorkspace); how != "" && how != "false" && how != "null" && how != `""` {
			list, err := listWorkspace(c, how == `"with-contents"`)
			if err != nil {
				return err
			}
			c.Logger.Info("Workspace:\n" + list)
		}
		return nil
	}
	return withoutOutput(withInput(a, `{"type":"object","properties":{"message":{"type":"string","description":"Message to output."},"listWorkspace":{"anyOf":[{"type":"boolean"},{"type":"string","enum":["with-filenames","with-contents"]}],"description":"List all files in the workspace. If used with \"with-contents\", also the file contents are listed."}},"additionalProperties":false,`+draft))
}

func listWorkspace(c *scaffoldernode.ActionContext, contents bool) (string, error) {
	var lines []string
	err := fs.WalkDir(c.Workspace.FS(), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		if len(lines) == maxListed {
			lines = append(lines, "  …")
			return fs.SkipAll
		}
		if !contents {
			lines = append(lines, "  - "+path)
			return nil
		}
		text, err := readStart(c, path)
		if err != nil {
			lines = append(lines, " - "+path+": [skipped]")
			return nil //nolint:nilerr // what cannot be read is said
		}
		lines = append(lines, " - "+path+":\n\n  "+text)
		return nil
	})
	return strings.Join(lines, "\n"), err
}

func readStart(c *scaffoldernode.ActionContext, path string) (string, error) {
	f, err := c.Workspace.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text := make([]byte, maxShown)
	n, err := f.Read(text)
	if n == 0 && err != nil && err.Error() != "EOF" {
		return "", err
	}
	return strings.ToValidUTF8(string(text[:n]), "\uFFFD"), nil
}

type debugWaitInput struct {
	Minutes      float64 `json:"minutes,omitempty" description:"Waiting period in minutes."`
	Seconds      float64 `json:"seconds,omitempty" description:"Waiting period in seconds."`
	Milliseconds float64 `json:"milliseconds,omitempty" description:"Waiting period in milliseconds."`
}

// maxWait is the longest that a step may wait.
const maxWait = 10 * time.Minute

func debugWait() scaffoldernode.Action {
	return withoutOutput(scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: "debug:wait", Description: "Waits for some time, ten minutes at most.",
		Examples: []scaffoldernode.ActionExample{example("Wait for half a minute", "steps:\n  - id: wait\n    action: debug:wait\n    input:\n      seconds: 30\n")},
	}, func(ctx context.Context, _ *scaffoldernode.ActionContext, in debugWaitInput) (nothing, error) {
		d := time.Duration(in.Minutes*float64(time.Minute) + in.Seconds*float64(time.Second) + in.Milliseconds*float64(time.Millisecond))
		if d > maxWait || in.Minutes > 10 || in.Seconds > 600 || in.Milliseconds > 600_000 {
			return nothing{}, apierr.New(apierr.KindError, "Waiting duration is longer than the maximum threshold of 0 hours, 10 minutes, 0 seconds")
		}
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nothing{}, context.Cause(ctx)
		}
		return nothing{}, nil
	}))
}
