package authnode

import "context"

// Outcome is what became of a request to a provider, also where its answer
// does not tell: a page that says what failed has the status 200.
type Outcome struct {
	// UserEntityRef is who signed in, "" if nobody did.
	UserEntityRef string
	// Err is why nobody did.
	Err error
}

type outcomeKey struct{}

// WithOutcome returns a context with which the outcome of a request can be
// learnt once the provider has answered it.
func WithOutcome(ctx context.Context) (context.Context, *Outcome) {
	o := &Outcome{}
	return context.WithValue(ctx, outcomeKey{}, o), o
}

// SignedIn notes who signed in. Implementations of [SignInContext] call it.
func SignedIn(ctx context.Context, userEntityRef string) {
	if o, ok := ctx.Value(outcomeKey{}).(*Outcome); ok {
		o.UserEntityRef = userEntityRef
	}
}

// Failed notes why a request failed. Providers call it for errors that they do
// not return.
func Failed(ctx context.Context, err error) {
	if o, ok := ctx.Value(outcomeKey{}).(*Outcome); ok {
		o.Err = err
	}
}
