package greeterbackend

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/flytower/flytower/apierr"
	greeternode "github.com/flytower/flytower/examples/greeter/plugins/greeter-node"
)

// greeter is what the plugin does. It knows nothing of HTTP.
type greeter struct {
	words   *dictionary
	clock   greeternode.ClockService
	evening int // the hour at which it begins
}

func (g *greeter) greet(language string) (greeternode.Greeting, error) {
	words, ok := g.words.lookup(language)
	if !ok {
		// The kind of the error decides the status and the name on the wire.
		return greeternode.Greeting{}, apierr.NotFound("nobody taught me %q; I know %v", language, g.words.languages())
	}
	text := words.Day
	if g.clock.Now().Hour() >= g.evening {
		text = words.Evening
	}
	return greeternode.Greeting{Language: language, Text: text}, nil
}

// dictionary implements greeternode.Dictionary. Modules start at the same
// time, so it is safe for concurrent use.
type dictionary struct {
	mu    sync.Mutex
	words map[string]greeternode.Words
}

func newDictionary() *dictionary {
	return &dictionary{words: map[string]greeternode.Words{"en": {Day: "hello", Evening: "good evening"}}}
}

// Add adds a language.
func (d *dictionary) Add(language string, w greeternode.Words) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, there := d.words[language]; there {
		return fmt.Errorf("the language %q is there already", language)
	}
	d.words[language] = w
	return nil
}

func (d *dictionary) lookup(language string) (greeternode.Words, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	w, ok := d.words[language]
	return w, ok
}

func (d *dictionary) languages() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.words))
}
