package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/valkey-io/valkey-go"
)

// Redis is a store that several backends share.
type Redis struct{ client valkey.Client }

// DialRedis connects to the server of a URL such as redis://host:6379.
func DialRedis(ctx context.Context, url string) (*Redis, error) {
	opts, err := valkey.ParseURL(url)
	if err != nil {
		// The text of err may repeat the password.
		return nil, errors.New("the URL of the Redis server is malformed")
	}
	opts.DisableCache = true
	client, err := valkey.NewClient(opts)
	if err != nil {
		return nil, fmt.Errorf("connecting to Redis: %w", err)
	}
	return &Redis{client}, ctx.Err()
}

// Close ends the connections.
func (s *Redis) Close() { s.client.Close() }

// hit counts and starts the window in one step, so that no key is left
// without an end.
var hit = valkey.NewLuaScript(`
local n = redis.call('INCR', KEYS[1])
local left = redis.call('PTTL', KEYS[1])
if left < 0 then
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
  left = tonumber(ARGV[1])
end
return {n, left}`)

// undo never makes a key that has ended anew.
var undo = valkey.NewLuaScript(`
if redis.call('EXISTS', KEYS[1]) == 1 then
  return redis.call('DECR', KEYS[1])
end
return 0`)

// Hit implements [Store].
func (s *Redis) Hit(ctx context.Context, key string, window time.Duration) (int, time.Time, error) {
	got, err := hit.Exec(ctx, s.client, []string{key}, []string{fmt.Sprint(window.Milliseconds())}).AsIntSlice()
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("counting a request in Redis: %w", err)
	}
	if len(got) != 2 {
		return 0, time.Time{}, fmt.Errorf("counting a request in Redis: %d results, want 2", len(got))
	}
	return int(got[0]), time.Now().Add(time.Duration(got[1]) * time.Millisecond), nil
}

// Undo implements [Store].
func (s *Redis) Undo(ctx context.Context, key string) error {
	if err := undo.Exec(ctx, s.client, []string{key}, nil).Error(); err != nil {
		return fmt.Errorf("taking a request back in Redis: %w", err)
	}
	return nil
}
