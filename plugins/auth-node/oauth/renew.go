package oauth

import (
	"context"
	"crypto/sha256"
	"sync"
	"time"
)

const (
	// grace is how long a refresh token that was replaced still stands for its
	// successor. Tabs of a browser refresh at the same moment, and those that
	// come late send the old cookie; many identity providers take a second use
	// for theft and end the session.
	grace = 30 * time.Second
	// renewTimeout bounds a refresh, which goes on where the browser hangs up.
	renewTimeout = time.Minute
	// maxReplaced bounds the replaced tokens that are remembered.
	maxReplaced = 10_000
)

// renewals sees to it that a session is refreshed by one request at a time,
// and that the requests that come with the same token share what it brings.
// It knows the sessions of this process only.
type renewals[U any] struct {
	now func() time.Time

	mu      sync.Mutex
	byToken map[[sha256.Size]byte]*renewal[U] // by the digest of the refresh token
	// replaced are the keys of finished renewals that are kept, in the order
	// in which they end.
	replaced [][sha256.Size]byte
}

func newRenewals[U any](now func() time.Time) *renewals[U] {
	return &renewals[U]{now: now, byToken: map[[sha256.Size]byte]*renewal[U]{}}
}

// renewal is one refresh. Everything but done is written before done is
// closed, and not changed afterwards.
type renewal[U any] struct {
	done    chan struct{}
	request RefreshRequest
	result  Result[U]
	err     error
	at      time.Time
}

// next returns the token that has replaced that of the request, "" if none.
func (r *renewal[U]) next() string {
	if token := r.result.Session.RefreshToken; token != r.request.RefreshToken {
		return token
	}
	return ""
}

// renew refreshes a session, or returns what another request for the same
// scope has just got of it. The result has the newest refresh token; it may have
// one beside an error.
func (s *renewals[U]) renew(ctx context.Context, request RefreshRequest, refresh func(context.Context, RefreshRequest) (Result[U], error)) (Result[U], error) {
	var shared *renewal[U] // what an earlier request for this scope got
	for {
		s.mu.Lock()
		s.forget()
		key := sha256.Sum256([]byte(request.RefreshToken))
		earlier, ok := s.byToken[key]
		if !ok {
			if shared != nil {
				// The chain of replaced tokens ends here.
				s.mu.Unlock()
				return s.share(shared, request.RefreshToken), nil
			}
			own := &renewal[U]{done: make(chan struct{}), request: request}
			s.byToken[key] = own
			s.mu.Unlock()
			return s.run(ctx, key, own, refresh)
		}
		s.mu.Unlock()

		select {
		case <-earlier.done:
		case <-ctx.Done():
			return Result[U]{}, ctx.Err()
		}
		same := earlier.request.Scope == request.Scope && earlier.request.ScopeGranted == request.ScopeGranted
		switch next := earlier.next(); {
		case next != "":
			if same && earlier.err == nil {
				shared = earlier
			}
			request.RefreshToken = next
		case same && shared == nil:
			return earlier.result, earlier.err
		case same && earlier.err == nil:
			return earlier.result, nil
		}
		// Otherwise it was for another scope, and has been forgotten by now.
	}
}

// run refreshes the session. It goes on where the browser hangs up: by then
// the identity provider may have replaced the token.
func (s *renewals[U]) run(ctx context.Context, key [sha256.Size]byte, own *renewal[U], refresh func(context.Context, RefreshRequest) (Result[U], error)) (Result[U], error) {
	own.err = context.Canceled // where refresh panics
	defer func() {
		own.at = s.now()
		s.mu.Lock()
		if own.next() == "" {
			if s.byToken[key] == own {
				delete(s.byToken, key)
			}
		} else {
			s.replaced = append(s.replaced, key)
		}
		s.mu.Unlock()
		close(own.done)
	}()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), renewTimeout)
	defer cancel()
	own.result, own.err = refresh(ctx, own.request)
	if own.err == nil && own.result.Session.RefreshToken == "" {
		own.result.Session.RefreshToken = own.request.RefreshToken
	}
	return own.result, own.err
}

// share returns the result of an earlier refresh for who comes later.
func (s *renewals[U]) share(r *renewal[U], token string) Result[U] {
	result := r.result
	result.Session.RefreshToken = token
	if result.Session.ExpiresIn > 0 {
		result.Session.ExpiresIn = max(result.Session.ExpiresIn-s.now().Sub(r.at), time.Second)
	}
	return result
}

// forget drops the replaced tokens whose time is over. The caller has the
// lock.
func (s *renewals[U]) forget() {
	limit, n := s.now().Add(-grace), 0
	for ; n < len(s.replaced); n++ {
		r, ok := s.byToken[s.replaced[n]]
		if ok && r.at.After(limit) && len(s.replaced)-n <= maxReplaced {
			break
		}
		delete(s.byToken, s.replaced[n])
	}
	if s.replaced = s.replaced[n:]; len(s.replaced) == 0 {
		s.replaced = nil
	}
}

// end forgets what is known of a session, and returns its newest token.
func (s *renewals[U]) end(ctx context.Context, token string) string {
	session := map[string]bool{token: true}
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		key := sha256.Sum256([]byte(token))
		r, ok := s.byToken[key]
		if !ok {
			break
		}
		s.mu.Unlock()
		select {
		case <-r.done:
		case <-ctx.Done():
		}
		s.mu.Lock()
		if ctx.Err() != nil {
			break
		}
		delete(s.byToken, key)
		next := r.next()
		if next == "" || session[next] {
			break
		}
		token = next
		session[token] = true
	}
	for i := len(s.replaced) - 1; i >= 0; i-- {
		if r, ok := s.byToken[s.replaced[i]]; ok && session[r.next()] {
			session[r.request.RefreshToken] = true
			delete(s.byToken, s.replaced[i])
		}
	}
	return token
}
