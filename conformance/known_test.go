package conformance

// Reasons that several exchanges share.
const (
	needsSearch   = "the search plugin is not part of the backend yet"
	needsDevtools = "the devtools plugin is not part of the backend yet"
	needsTechDocs = "the techdocs plugin is not part of the backend yet"
	needsMCP      = "the mcp-actions plugin is not part of the backend yet"
)

// known are the exchanges whose answers differ from those of the reference,
// with the reason. An entry that does not differ any more fails the test.
var known = map[string]string{
	"root-unknown-plugin-no-auth": "the gateway knows that no plugin of the name is anywhere, and does not send the request to itself to find out",

	"auth-root-oauth-authorization-server": "it also says that answers name their issuer",
	"auth-dcr-register":                    "the answer has what RFC 7591 requires, and is not kept by caches",
	"auth-token-exchange":                  "the answer is not kept by caches",
	"auth-token-refresh":                   "its code was used twice, so its refresh token was revoked",
	"auth-session-reject":                  "the answer names its issuer",

	"catalog-by-refs-case-and-partial": "refs mean the same in any case here, too",
	"catalog-actions-list":             "the input of query-catalog-entities declares the predicate as an object, and does not spell its language out",
	"catalog-by-query-text-percent":    "a percent sign in a search means itself",

	"scaffolder-actions-static":     "actions of the plugins auth, notifications and search are missing, those of the modules are there, and catalog:query-catalog-entities declares the predicate as an object",
	"scaffolder-task-events-failed": "the message about a missing file is ours, without a path on the server",

	"policy-search":                  needsSearch,
	"policy-search-static":           needsSearch,
	"policy-devtools-config-allowed": needsDevtools,
	"policy-techdocs-allowed":        needsTechDocs,
	"policy-mcp-call-denied":         needsMCP,
}
