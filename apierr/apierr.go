// Package apierr gives errors the names that travel on the wire.
//
// Every backend of the family, this one and those written in Node, maps an
// error to an HTTP status by its name, and clients decide on that name. An
// error of this package carries such a name; any error that wraps one has its
// status.
//
//	func (s *store) find(ref string) (*Thing, error) {
//		t, ok := s.things[ref]
//		if !ok {
//			return nil, apierr.NotFound("no thing named %q", ref)
//		}
//		return t, nil
//	}
//
// [Write] turns an error into the JSON body that clients read, and
// [FromResponse] reads such a body back into an error.
package apierr

import (
	"errors"
	"fmt"
	"net/http"
)

// Kind is the wire name of an error.
type Kind string

// The names that all backends know, with their HTTP status.
const (
	KindInput              Kind = "InputError"              // 400
	KindAuthentication     Kind = "AuthenticationError"     // 401
	KindNotAllowed         Kind = "NotAllowedError"         // 403
	KindNotFound           Kind = "NotFoundError"           // 404
	KindConflict           Kind = "ConflictError"           // 409
	KindNotModified        Kind = "NotModifiedError"        // 304
	KindPayloadTooLarge    Kind = "PayloadTooLargeError"    // 413
	KindNotImplemented     Kind = "NotImplementedError"     // 501
	KindServiceUnavailable Kind = "ServiceUnavailableError" // 503
	// KindError is the name of any other error: status 500.
	KindError Kind = "Error"
)

// Status returns the HTTP status of the kind; 500 for names it does not know.
func (k Kind) Status() int {
	switch k {
	case KindInput:
		return http.StatusBadRequest
	case KindAuthentication:
		return http.StatusUnauthorized
	case KindNotAllowed:
		return http.StatusForbidden
	case KindNotFound:
		return http.StatusNotFound
	case KindConflict:
		return http.StatusConflict
	case KindNotModified:
		return http.StatusNotModified
	case KindPayloadTooLarge:
		return http.StatusRequestEntityTooLarge
	case KindNotImplemented:
		return http.StatusNotImplemented
	case KindServiceUnavailable:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

// Error is an error with a wire name.
type Error struct {
	Kind    Kind
	Message string
	// Cause is the wrapped error; it is part of the message and, by name and
	// message only, of the body that [Write] sends.
	Cause error
	// HTTPStatus overrides the status of the kind when it is in 100..599.
	HTTPStatus int
	// Fields are extra members of the error object on the wire. Nothing is
	// sent that is not listed here.
	Fields map[string]any
}

// Error returns the message, followed by the cause as all backends write it.
func (e *Error) Error() string {
	if e.Cause == nil {
		return e.Message
	}
	if _, quiet := e.Cause.(hidden); quiet {
		return e.Message
	}
	cause := fmt.Sprintf("caused by %s: %s", nameOf(e.Cause), e.Cause)
	if e.Message == "" {
		return cause
	}
	return e.Message + "; " + cause
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Is reports whether target is a bare error of the same kind, so that
// errors.Is(err, apierr.NotFound("")) asks for the kind alone.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Message == "" && t.Cause == nil && t.Kind == e.Kind
}

// New returns an error of the kind. The format is that of [fmt.Errorf]; an
// operand of %w becomes the cause.
func New(kind Kind, format string, args ...any) *Error {
	if len(args) == 0 {
		return &Error{Kind: kind, Message: format}
	}
	err := fmt.Errorf(format, args...)
	e := &Error{Kind: kind, Message: err.Error()}
	if cause := errors.Unwrap(err); cause != nil {
		// The text of the cause is in the message already, in the place that
		// the caller chose.
		return &Error{Kind: kind, Message: err.Error(), Cause: hidden{cause}}
	}
	return e
}

// hidden keeps a cause reachable by errors.Is and errors.As without writing
// its text twice.
type hidden struct{ error }

func (h hidden) Unwrap() error { return h.error }

// Wrap returns an error of the kind with the message and the cause.
func Wrap(kind Kind, cause error, message string) *Error {
	return &Error{Kind: kind, Message: message, Cause: cause}
}

// Forward returns an error with the message whose kind is that of its cause.
func Forward(cause error, message string) *Error {
	return &Error{Kind: KindOf(cause), Message: message, Cause: cause, HTTPStatus: explicitStatus(cause)}
}

// Input returns an error that tells the caller to mend the request (400).
func Input(format string, args ...any) *Error { return New(KindInput, format, args...) }

// Authentication returns an error for missing or bad credentials (401).
func Authentication(format string, args ...any) *Error {
	return New(KindAuthentication, format, args...)
}

// NotAllowed returns an error for a caller who may not do this (403).
func NotAllowed(format string, args ...any) *Error { return New(KindNotAllowed, format, args...) }

// NotFound returns an error for a thing that is not there (404).
func NotFound(format string, args ...any) *Error { return New(KindNotFound, format, args...) }

// Conflict returns an error for a request that collides with the state (409).
func Conflict(format string, args ...any) *Error { return New(KindConflict, format, args...) }

// NotModified returns the error that says that nothing changed (304).
func NotModified(format string, args ...any) *Error { return New(KindNotModified, format, args...) }

// NotImplemented returns an error for something that this installation does
// not offer (501).
func NotImplemented(format string, args ...any) *Error {
	return New(KindNotImplemented, format, args...)
}

// ServiceUnavailable returns an error for something that may work later (503).
func ServiceUnavailable(format string, args ...any) *Error {
	return New(KindServiceUnavailable, format, args...)
}

// Named is implemented by errors of packages that do not import this one and
// still have a name on the wire.
type Named interface {
	error
	ErrorName() string
}

// KindOf returns the kind of the outermost [Error] in the chain of err, else
// the name of the outermost [Named], else [KindError]; and "" for nil.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) && e.Kind != "" {
		return e.Kind
	}
	var named Named
	if errors.As(err, &named) {
		return Kind(named.ErrorName())
	}
	return KindError
}

// Status returns the HTTP status of err: an explicit one, else that of its
// kind.
func Status(err error) int {
	if s := explicitStatus(err); s != 0 {
		return s
	}
	return KindOf(err).Status()
}

func explicitStatus(err error) int {
	var e *Error
	if errors.As(err, &e) && e.HTTPStatus >= 100 && e.HTTPStatus <= 599 {
		return e.HTTPStatus
	}
	return 0
}

func nameOf(err error) string { return string(KindOf(err)) }
