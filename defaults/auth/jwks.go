package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/time/rate"

	"github.com/flytower/flytower/internal/flight"
	"github.com/flytower/flytower/internal/signingkey"
)

const (
	keySetMaxAge   = 10 * time.Minute // then a set is fetched anew before it is used
	keySetCooldown = 30 * time.Second // a set this young is fetched anew only within the budget below
	keySetForced   = 10               // fetches per minute and set for unknown keys within the cooldown
	keySetRetry    = time.Second      // pause after a fetch that failed
	keySetTimeout  = 5 * time.Second  // for one fetch
	keySetMaxBytes = 256 << 10        // of one set
	keySetMax      = 100              // sets kept
	keySetMaxKeys  = 500              // of one set
)

// fetchKeys returns a JSON Web Key Set.
type fetchKeys func(ctx context.Context) ([]json.RawMessage, error)

// keySets keeps the key sets of peers. Sets that were never fetched with
// success are kept apart, so that tokens with invented senders cannot push
// out the sets in use.
type keySets struct {
	now      func() time.Time
	group    flight.Group[string, []jose.JSONWebKey]
	known    *flight.Cache[string, *keySet]
	unknown  *flight.Cache[string, *keySet]
	contacts *rate.Limiter // fetches of sets that are not known
	mu       sync.Mutex    // makes sure that there is one set per id
}

type keySet struct {
	mu      sync.Mutex
	keys    []jose.JSONWebKey
	fetched time.Time // zero before the first success
	failed  time.Time
	err     error
	forced  *rate.Limiter
}

func newKeySets(now func() time.Time) *keySets {
	return &keySets{
		now:      now,
		known:    flight.NewCache[string, *keySet](keySetMax, time.Hour, now),
		unknown:  flight.NewCache[string, *keySet](keySetMax, time.Hour, now),
		contacts: rate.NewLimiter(rate.Every(100*time.Millisecond), 100),
	}
}

func (s *keySets) set(id string) *keySet {
	s.mu.Lock()
	defer s.mu.Unlock()
	if set, ok := s.known.Peek(id); ok {
		s.known.Put(id, set, s.now().Add(time.Hour)) // in use: keep it
		return set
	}
	if set, ok := s.unknown.Peek(id); ok {
		return set
	}
	set := &keySet{forced: rate.NewLimiter(rate.Every(time.Minute/keySetForced), keySetForced)}
	s.unknown.Put(id, set, s.now().Add(time.Hour))
	return set
}

// finder returns a function that finds keys of the set with the id, which
// fetch gets.
func (s *keySets) finder(id string, fetch fetchKeys) keyFinder {
	return func(ctx context.Context, kid string, hasKid bool, alg string) (any, error) {
		set := s.set(id)
		set.mu.Lock()
		keys, fetched := set.keys, set.fetched
		set.mu.Unlock()
		if fetched.IsZero() || s.now().Sub(fetched) >= keySetMaxAge {
			var err error
			if keys, err = s.reload(ctx, id, set, fetch); err != nil {
				return nil, err
			}
			return choose(keys, kid, hasKid, alg)
		}
		k, err := choose(keys, kid, hasKid, alg)
		if !errors.Is(err, errUnknownKey) {
			return k, err
		}
		// The peer may have a new key. Whoever invents key ids must not make
		// us ask it each time.
		if s.now().Sub(fetched) < keySetCooldown && !set.forced.AllowN(s.now(), 1) {
			return nil, err
		}
		if keys, err = s.reload(ctx, id, set, fetch); err != nil {
			return nil, err
		}
		return choose(keys, kid, hasKid, alg)
	}
}

// reload fetches a set. Concurrent calls share one fetch.
func (s *keySets) reload(ctx context.Context, id string, set *keySet, fetch fetchKeys) ([]jose.JSONWebKey, error) {
	return s.group.Do(ctx, id, func(ctx context.Context) ([]jose.JSONWebKey, error) {
		set.mu.Lock()
		first := set.fetched.IsZero()
		pause := set.err != nil && s.now().Sub(set.failed) < keySetRetry
		lastErr := set.err
		set.mu.Unlock()
		if pause {
			return nil, lastErr
		}
		if first && !s.contacts.AllowN(s.now(), 1) {
			return nil, errors.New("too many unknown senders of tokens; their keys are not fetched")
		}
		// The fetch is for all who wait, so it does not end with its caller.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keySetTimeout)
		defer cancel()
		raw, err := fetch(ctx)
		now := s.now()
		set.mu.Lock()
		defer set.mu.Unlock()
		if err != nil {
			set.failed, set.err = now, fmt.Errorf("fetching the keys: %w", err)
			return nil, set.err
		}
		set.keys, set.fetched, set.err = publicKeys(raw), now, nil
		s.known.Put(id, set, now.Add(time.Hour))
		return set.keys, nil
	})
}

// publicKeys decodes the keys that can verify; others are left out, as a set
// may have keys for other purposes.
func publicKeys(raw []json.RawMessage) []jose.JSONWebKey {
	raw = raw[:min(len(raw), keySetMaxKeys)]
	keys := make([]jose.JSONWebKey, 0, len(raw))
	for _, text := range raw {
		var k jose.JSONWebKey
		if err := k.UnmarshalJSON(text); err != nil || !k.Valid() || !k.IsPublic() {
			continue
		}
		var ops struct {
			Ops []string `json:"key_ops"`
		}
		if err := json.Unmarshal(text, &ops); err != nil {
			continue
		}
		if len(ops.Ops) > 0 && !slices.Contains(ops.Ops, "verify") || k.Use != "" && k.Use != "sig" {
			continue
		}
		keys = append(keys, k)
	}
	return keys
}

var errUnknownKey = errors.New("no published key fits")

// choose returns the one key that fits.
func choose(keys []jose.JSONWebKey, kid string, hasKid bool, alg string) (any, error) {
	var found any
	for _, k := range keys {
		if hasKid && k.KeyID != kid || k.Algorithm != "" && k.Algorithm != alg || signingkey.Fits(k.Key, jose.SignatureAlgorithm(alg)) != nil {
			continue
		}
		if found != nil {
			return nil, errors.New("several published keys fit")
		}
		found = k.Key
	}
	if found == nil {
		return nil, errUnknownKey
	}
	return found, nil
}

// fetchHTTP returns a function that gets the key set at the address.
func fetchHTTP(client *http.Client, address string) fetchKeys {
	return func(ctx context.Context) ([]json.RawMessage, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Accept", "application/json")
		resp, err := client.Do(req)
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("%s answered %s", address, resp.Status)
		}
		body, err := io.ReadAll(io.LimitReader(resp.Body, keySetMaxBytes+1))
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", address, err)
		}
		if len(body) > keySetMaxBytes {
			return nil, fmt.Errorf("%s answered more than %d bytes", address, keySetMaxBytes)
		}
		return decodeKeySet(body, address)
	}
}

func decodeKeySet(body []byte, address string) ([]json.RawMessage, error) {
	var set map[string]json.RawMessage
	var keys []json.RawMessage
	err := json.Unmarshal(body, &set)
	if err == nil {
		err = json.Unmarshal(set["keys"], &keys)
	}
	if err != nil {
		return nil, fmt.Errorf("%s did not answer a JSON Web Key Set: %w", address, err)
	}
	return keys, nil
}
