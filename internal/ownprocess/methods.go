package ownprocess

// What any errand may ask the backend for, beside what its plugin serves.
const (
	// MethodToken returns a token for a [TokenRequest].
	MethodToken = "token"
	// MethodBaseURL and MethodExternalBaseURL return where a plugin is.
	MethodBaseURL         = "base-url"
	MethodExternalBaseURL = "external-base-url"
)

// TokenRequest asks for a token to call a plugin on behalf of a principal.
type TokenRequest struct {
	Type    string `json:"type"`
	User    string `json:"user,omitempty"`
	Subject string `json:"subject,omitempty"`
	Plugin  string `json:"plugin"`
}
