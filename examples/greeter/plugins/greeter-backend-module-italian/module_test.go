package greetermoduleitalian_test

import (
	"testing"

	"github.com/flytower/flytower/backendtest"
	greetermoduleitalian "github.com/flytower/flytower/examples/greeter/plugins/greeter-backend-module-italian"
	greeternode "github.com/flytower/flytower/examples/greeter/plugins/greeter-node"
)

// dictionary stands in for that of the plugin.
type dictionary map[string]greeternode.Words

func (d dictionary) Add(language string, w greeternode.Words) error { d[language] = w; return nil }

// The module is tested without its plugin.
func TestItalian(t *testing.T) {
	t.Parallel()
	words := dictionary{}
	backendtest.Start(t, greetermoduleitalian.Module, backendtest.Offer[greeternode.Dictionary](greeternode.Languages, words))
	if got := words["it"]; got.Day != "buongiorno" || got.Evening != "buonasera" {
		t.Errorf("added %v", words)
	}
}
