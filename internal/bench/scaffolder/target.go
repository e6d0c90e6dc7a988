package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// target is a backend.
type target struct {
	name, url, token string
	pid              int
}

// patience bounds a task.
const patience = 5 * time.Minute

var client = &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}

func (t *target) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, t.url+path, body)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+t.token)
	r.Header.Set("Content-Type", "application/json")
	answer, err := client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %.500s", method, path, answer.Status, text)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}

// ready waits until the backend knows the templates.
func (t *target) ready(ctx context.Context) error {
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	for {
		err := errors.Join(t.call(ctx, http.MethodGet, "/api/catalog/entities/by-name/template/default/bench-files", nil, nil),
			t.call(ctx, http.MethodGet, "/api/catalog/entities/by-name/template/default/bench-steps", nil, nil))
		if err == nil {
			return nil
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%s does not know the templates: %w", t.name, err)
		}
	}
}

const tasksPath = "/api/scaffolder/v2/tasks"

func (t *target) create(ctx context.Context, ref string) (path string, err error) {
	var made struct{ ID string }
	err = t.call(ctx, http.MethodPost, tasksPath, map[string]any{"templateRef": ref, "values": values()}, &made)
	return tasksPath + "/" + made.ID, err
}

// took is how long tasks took by the clock of the database of the backend.
type took struct {
	wall  time.Duration // from the creation to the last event
	first time.Duration // to the first event
}

// task runs a task to its end.
func (t *target) task(ctx context.Context, ref string) (took, error) {
	path, err := t.create(ctx, ref)
	if err != nil {
		return took{}, err
	}
	created, begun, ended, err := t.wait(ctx, path)
	return took{ended.Sub(created), begun.Sub(created)}, err
}

// pause is how long a task is left alone between two looks at it: what they
// cost is no part of what is measured.
const pause = 100 * time.Millisecond

func (t *target) wait(ctx context.Context, path string) (created, begun, ended time.Time, err error) {
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	for {
		var now struct {
			Status    string
			CreatedAt time.Time
		}
		if err := t.call(ctx, http.MethodGet, path, nil, &now); err != nil {
			return created, begun, ended, err
		}
		if now.Status == "open" || now.Status == "processing" {
			time.Sleep(pause)
			continue
		}
		first, last, err := t.events(ctx, path)
		if err == nil && now.Status != "completed" {
			err = fmt.Errorf("the task %s is %s", path, now.Status)
		}
		return now.CreatedAt, first, last, err
	}
}

// events returns when the first and the last event of a task was.
func (t *target) events(ctx context.Context, path string) (first, last time.Time, err error) {
	after := int64(-1)
	for {
		var page []struct {
			ID        int64
			Type      string
			CreatedAt time.Time
		}
		if err := t.call(ctx, http.MethodGet, fmt.Sprintf("%s/events?after=%d", path, after), nil, &page); err != nil {
			return first, last, err
		}
		if len(page) == 0 {
			return first, last, fmt.Errorf("the task %s has no end", path)
		}
		if first.IsZero() {
			first = page[0].CreatedAt
		}
		after, last = page[len(page)-1].ID, page[len(page)-1].CreatedAt
		if page[len(page)-1].Type == "completion" {
			return first, last, nil
		}
	}
}

// many creates tasks and waits for all; wall is from the first creation to the
// last end, first the mean.
func (t *target) many(ctx context.Context, ref string, n int) (all took, err error) {
	const clients = 16
	var mu sync.Mutex
	var group sync.WaitGroup
	var from, to time.Time
	next := 0
	for range clients {
		group.Go(func() {
			for {
				mu.Lock()
				stop := next >= n || err != nil
				next++
				mu.Unlock()
				if stop {
					return
				}
				path, e := t.create(ctx, ref)
				var created, begun, ended time.Time
				if e == nil {
					created, begun, ended, e = t.wait(ctx, path)
				}
				mu.Lock()
				if err = errors.Join(err, e); e == nil {
					all.first += begun.Sub(created) / time.Duration(n)
					if from.IsZero() || created.Before(from) {
						from = created
					}
					if ended.After(to) {
						to = ended
					}
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	all.wall = to.Sub(from)
	return all, err
}

// ticksPerSecond is that of all systems that Go runs on.
const ticksPerSecond = 100

// cpu is what the process has used so far; zero if its id is not known.
func (t *target) cpu() (time.Duration, error) {
	if t.pid == 0 {
		return 0, nil
	}
	text, err := os.ReadFile("/proc/" + strconv.Itoa(t.pid) + "/stat")
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * time.Second / ticksPerSecond, err
}
