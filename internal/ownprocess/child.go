package ownprocess

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
)

// marker is the environment variable by which the program knows that it was
// started for one errand.
const marker = "FLYTOWER_ERRAND"

// restrictions are what the child puts on itself. They are the text of the
// marker.
type restrictions struct {
	Limits   Limits   `json:"limits"`
	Confine  bool     `json:"confine"`
	Writable []string `json:"writable"`
	Readable []string `json:"readable"`
	// Done is set when they hold.
	Done bool `json:"done"`
}

// Requested reports whether this process was started for one errand.
func Requested() bool {
	_, ok := os.LookupEnv(marker)
	return ok
}

// Child is the process of an errand, as it sees itself.
type Child struct {
	hello   hello
	channel *channel
	calls   sync.WaitGroup

	mu      sync.Mutex
	last    int64
	waiting map[int64]chan *answer
	gone    error // why nobody answers any more
	cancel  context.CancelCauseFunc
	ended   context.Context //nolint:containedctx // it is the life of the errand
}

// Accept returns the errand of this process; nil if it was not started for
// one. The restrictions hold when it returns. It works once.
func Accept() (*Child, error) {
	text, ok := os.LookupEnv(marker)
	if !ok {
		return nil, nil
	}
	var r restrictions
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return nil, fmt.Errorf("%s is not for people: unset it", marker)
	}
	if !r.Done {
		return nil, restrict(r)
	}
	if err := errors.Join(os.Unsetenv(marker), hide()); err != nil {
		return nil, err
	}
	conn, err := inherited()
	if err != nil {
		return nil, err
	}
	c := &Child{channel: &channel{conn: conn}, waiting: map[int64]chan *answer{}}
	first, err := c.channel.read()
	switch {
	case err != nil:
		return nil, fmt.Errorf("read what there is to do: %w", err)
	case first.Hello == nil || first.Hello.Version != version:
		return nil, errors.New("the backend speaks another version: it was replaced while it ran; restart it")
	}
	c.hello = *first.Hello
	c.ended, c.cancel = context.WithCancelCause(context.Background())
	c.calls.Go(c.listen)
	return c, nil
}

// Plugin returns the plugin that does the errand, and Errand its name.
func (c *Child) Plugin() string { return c.hello.Plugin }

// Errand returns the name of the errand.
func (c *Child) Errand() string { return c.hello.Errand }

// Config returns the configuration of the process.
func (c *Child) Config() map[string]any { return c.hello.Config }

// Input decodes what the errand was given.
func (c *Child) Input(into any) error { return json.Unmarshal(c.hello.Input, into) }

// Context ends when the errand is cancelled, with the reason as its cause.
func (c *Child) Context() context.Context { return c.ended }

// errOrphan is why an errand ends whose backend is gone.
var errOrphan = errors.New("the backend is gone")

// listen takes answers until the backend is gone. Then the process and its
// children end, too: nobody is left who could use what they do.
func (c *Child) listen() {
	for {
		m, err := c.channel.read()
		if err != nil {
			c.mu.Lock()
			c.gone = errOrphan
			for id, answered := range c.waiting {
				delete(c.waiting, id)
				answered <- &answer{Error: toWire(errOrphan)}
			}
			c.mu.Unlock()
			c.cancel(errOrphan)
			killOwnGroup()
			return
		}
		switch {
		case m.Cancel != nil:
			c.cancel(errors.New(*m.Cancel))
		case m.Answer != nil:
			c.mu.Lock()
			answered := c.waiting[m.Answer.ID]
			delete(c.waiting, m.Answer.ID)
			c.mu.Unlock()
			if answered != nil {
				answered <- m.Answer
			}
		}
	}
}

// Call asks the backend. A result that is nil is not decoded.
func (c *Child) Call(ctx context.Context, method string, params, result any) error {
	raw, err := json.Marshal(params)
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	answered := make(chan *answer, 1)
	c.mu.Lock()
	if c.gone != nil {
		c.mu.Unlock()
		return c.gone
	}
	c.last++
	id := c.last
	c.waiting[id] = answered
	c.mu.Unlock()
	if err := c.channel.write(message{Call: &call{id, method, raw}}); err != nil {
		c.mu.Lock()
		delete(c.waiting, id)
		c.mu.Unlock()
		return fmt.Errorf("ask the backend (%s): %w", method, err)
	}
	select {
	case a := <-answered:
		if a.Error != nil {
			return a.Error.err()
		}
		if result == nil {
			return nil
		}
		return json.Unmarshal(a.Result, result)
	case <-ctx.Done():
		c.mu.Lock()
		delete(c.waiting, id)
		c.mu.Unlock()
		return context.Cause(ctx)
	}
}

// End tells the result, after which the process has to exit.
func (c *Child) End(result any, err error) error {
	return c.channel.write(message{End: answerOf(0, result, err)})
}
