package greeterbackend

import (
	"net/http"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
)

// addRoutes adds the routes, below /api/greeter. Only requests of users and
// services reach them: whoever wants a route to be open says so with
// AddAuthPolicy.
func addRoutes(router core.Router, g *greeter) {
	router.HandleErr("GET /greetings", func(w http.ResponseWriter, _ *http.Request) error {
		apierr.WriteJSON(w, http.StatusOK, map[string]any{"languages": g.words.languages()})
		return nil
	})
	router.HandleErr("GET /greetings/{language}", func(w http.ResponseWriter, r *http.Request) error {
		greeting, err := g.greet(r.PathValue("language"))
		if err != nil {
			return err // becomes the answer
		}
		apierr.WriteJSON(w, http.StatusOK, greeting)
		return nil
	})
}
