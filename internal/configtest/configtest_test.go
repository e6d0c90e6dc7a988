package configtest_test

import (
	"testing"

	"github.com/flytower/flytower/internal/configtest"
)

func TestLive(t *testing.T) {
	t.Parallel()
	config, update := configtest.Live(t, `
		backend:
		  listen:
		    port: 7007
	`)
	if got, err := config.IntOr("backend.listen.port", 0); got != 7007 || err != nil {
		t.Errorf("port = %d, %v", got, err)
	}
	if got := config.Position("backend.listen.port").String(); got != "app-config.yaml:4" {
		t.Errorf("position = %s", got)
	}
	sub, calls := config.Sub("backend.listen"), 0
	cancel := config.Subscribe(func() { calls++ })
	update("backend: {listen: {port: 80}}")
	update("backend: {listen: {port: 80}}")
	cancel()
	update("backend: {listen: {port: 81}}")
	if got, err := sub.IntOr("port", 0); got != 81 || err != nil || calls != 1 {
		t.Errorf("port = %d, %v after %d calls", got, err, calls)
	}
}
