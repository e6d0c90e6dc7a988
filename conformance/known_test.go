package conformance

// Reasons that several exchanges share.
const (
	needsApp      = "the app plugin, which serves the frontend, is not part of the backend yet"
	needsSearch   = "the search plugin is not part of the backend yet"
	needsDevtools = "the devtools plugin is not part of the backend yet"
	needsTechDocs = "the techdocs plugin is not part of the backend yet"
	needsMCP      = "the mcp-actions plugin is not part of the backend yet"
)

// known are the exchanges whose answers differ from those of the reference,
// with the reason. An entry that does not differ any more fails the test.
var known = map[string]string{
	"root-health-unknown":         needsApp,
	"root-api-app":                needsApp,
	"root-static-js":              needsApp,
	"root-static-js-range":        needsApp,
	"root-static-css":             needsApp,
	"root-static-missing":         needsApp,
	"root-post-root":              needsApp,
	"root-delete-root":            needsApp,
	"root-unknown-plugin-no-auth": "the gateway knows that no plugin of the name is anywhere, and does not send the request to itself to find out",

	"catalog-by-refs-case-and-partial": "refs mean the same in any case here, too",
	"catalog-actions-list":             "the input of query-catalog-entities declares the predicate as an object, and does not spell its language out",
	"catalog-by-query-text-percent":    "a percent sign in a search means itself",

	"policy-search":                  needsSearch,
	"policy-search-static":           needsSearch,
	"policy-devtools-config-allowed": needsDevtools,
	"policy-techdocs-allowed":        needsTechDocs,
	"policy-mcp-call-denied":         needsMCP,
}
