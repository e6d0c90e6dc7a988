package greeterbackend_test

import (
	"context"
	"testing"
	"time"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/backendtest"
	greeterbackend "github.com/flytower/flytower/examples/greeter/plugins/greeter-backend"
	greeternode "github.com/flytower/flytower/examples/greeter/plugins/greeter-node"
)

// at replaces the clock of the plugin by one of the test.
func at(clock *backendtest.Clock) backend.Feature {
	return backend.NewServiceFactory(greeternode.Clock, func(*backend.FactoryEnv) backend.MakeFunc[greeternode.ClockService] {
		return func(context.Context) (greeternode.ClockService, error) { return clock, nil }
	})
}

func TestGreetingFollowsTheClock(t *testing.T) {
	t.Parallel()
	clock := backendtest.NewClock() // noon
	srv := backendtest.Start(t, greeterbackend.Plugin, at(clock))
	greeting := func() string {
		var g greeternode.Greeting
		srv.Client(t).Get("/api/greeter/greetings/en").Expect(200).JSON(&g)
		return g.Text
	}
	if got := greeting(); got != "hello" {
		t.Errorf("at noon: %q", got)
	}
	clock.Advance(7 * time.Hour)
	if got := greeting(); got != "good evening" {
		t.Errorf("in the evening: %q", got)
	}
}

func TestTheEveningIsConfigured(t *testing.T) {
	t.Parallel()
	srv := backendtest.Start(t, greeterbackend.Plugin, at(backendtest.NewClock()), backendtest.YAML("greeter: {evening: 11}"))
	var g greeternode.Greeting
	srv.Client(t).Get("/api/greeter/greetings/en").Expect(200).JSON(&g)
	if g.Text != "good evening" {
		t.Errorf("at noon: %q", g.Text)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	srv := backendtest.Start(t, greeterbackend.Plugin)
	srv.Client(t).Get("/api/greeter/greetings/tlh").ExpectError(404, "NotFoundError")
	srv.Client(t).As(backendtest.Nobody()).Get("/api/greeter/greetings/en").ExpectError(401, "AuthenticationError")
}
