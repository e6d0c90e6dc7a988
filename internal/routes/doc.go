// Package routes matches requests with patterns, with the tolerance that
// clients of the family rely on.
//
// Patterns are those of [net/http.ServeMux] without a host:
//
//	GET /things                  exactly this path
//	GET /things/{id}             one segment, read with r.PathValue("id")
//	/files/{path...}             the rest of the path, which may be empty
//	/static/                     the same, without a name
//	GET /{$}                     the root alone
//
// They match more tolerantly than in ServeMux: literal segments in any case
// (the values of parameters keep theirs), with or without one slash at the
// end, and never by way of a redirect. A parameter is decoded after the path
// was split, so "%2F" in a segment stays in its value. GET serves HEAD.
// A request with a dot segment ("." or "..", also when encoded) matches
// nothing, and neither does one with an empty segment, except below a pattern
// that takes the rest of the path.
//
// Of several patterns the one with the more specific path wins: a literal
// segment before a parameter before the rest; of equal paths, the one with
// the more specific method. Where neither is more specific, the second
// registration fails, and the error names both places.
package routes
