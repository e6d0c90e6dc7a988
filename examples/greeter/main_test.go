package main

import (
	"testing"

	"github.com/flytower/flytower"
	"github.com/flytower/flytower/backendtest"
	greeternode "github.com/flytower/flytower/examples/greeter/plugins/greeter-node"
)

// Everything that features need is there, and fits together. Declare functions
// run, and nothing else: no listener, no database.
func TestWiring(t *testing.T) {
	t.Parallel()
	if err := flytower.New().Add(features()...).Validate(); err != nil {
		t.Fatal(err)
	}
}

// The whole backend starts, with the services of package backendtest.
func TestBackend(t *testing.T) {
	t.Parallel()
	srv := backendtest.Start(t, append(features(), backendtest.YAML("greeter: {timeZone: Pacific/Auckland}"))...)

	var hello greeternode.Greeting
	srv.Client(t).Get("/api/greeter/greetings/it").Expect(200).JSON(&hello)
	if hello.Language != "it" {
		t.Errorf("got %+v", hello)
	}
	clock := backendtest.Service(t, srv, "greeter", greeternode.Clock)
	if zone := clock.Now().Location().String(); zone != "Pacific/Auckland" {
		t.Errorf("the clock is in %s", zone)
	}
}
