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

// task runs a task to its end, and returns when its first event was there.
func (t *target) task(ctx context.Context, ref string) (first time.Duration, err error) {
	begun := time.Now()
	path, err := t.create(ctx, ref)
	if err != nil {
		return 0, err
	}
	return t.wait(ctx, path, begun)
}

func (t *target) wait(ctx context.Context, path string, begun time.Time) (first time.Duration, err error) {
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	const pause = 10 * time.Millisecond
	for {
		var now struct{ Status string }
		if first == 0 {
			var events []struct{ ID int64 }
			if err := t.call(ctx, http.MethodGet, path+"/events", nil, &events); err != nil {
				return first, err
			}
			if len(events) > 0 {
				first = time.Since(begun)
			}
		}
		if err := t.call(ctx, http.MethodGet, path, nil, &now); err != nil {
			return first, err
		}
		switch now.Status {
		case "completed":
			return first, nil
		case "failed", "cancelled":
			var events json.RawMessage
			err := t.call(ctx, http.MethodGet, path+"/events", nil, &events)
			return first, errors.Join(fmt.Errorf("the task %s is %s: %s", path, now.Status, events[max(0, len(events)-1000):]), err)
		}
		time.Sleep(pause)
	}
}

// many creates tasks, and waits for all.
func (t *target) many(ctx context.Context, ref string, n int) (first time.Duration, err error) {
	const clients = 16
	var mu sync.Mutex
	var group sync.WaitGroup
	next := 0
	for range clients {
		group.Go(func() {
			for {
				mu.Lock()
				stop := next == n || err != nil
				next++
				mu.Unlock()
				if stop {
					return
				}
				begun := time.Now()
				path, e := t.create(ctx, ref)
				one := time.Duration(0)
				if e == nil {
					one, e = t.wait(ctx, path, begun)
				}
				mu.Lock()
				first += one / time.Duration(n)
				err = errors.Join(err, e)
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return first, err
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
