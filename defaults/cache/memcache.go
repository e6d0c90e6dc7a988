package cache

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
)

// MemcacheOptions configure a [Memcache].
type MemcacheOptions struct {
	// Servers are host:port; the port may be left out.
	Servers []string
	// Timeout limits each exchange; 0 is [DefaultTimeout].
	Timeout time.Duration
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Memcache is a store in memcached. Keys are spread over the servers.
type Memcache struct {
	client *memcache.Client
	now    func() time.Time
}

// memcachePort is where memcached listens by default.
const memcachePort = "11211"

// ParseMemcacheServers reads a connection such as "host:11211,other".
func ParseMemcacheServers(connection string) ([]string, error) {
	var servers []string
	for part := range strings.SplitSeq(connection, ",") {
		part = strings.TrimSpace(part)
		for _, scheme := range []string{"memcached://", "memcache://"} {
			part = strings.TrimPrefix(part, scheme)
		}
		part = strings.TrimSuffix(part, "/")
		switch {
		case part == "":
			return nil, errors.New("the connection names no server; write host:11211")
		case strings.Contains(part, "@"):
			return nil, errors.New("the connection has a user name or a password, and memcached is used without authentication; remove it, or use the store redis or valkey")
		}
		if _, _, err := net.SplitHostPort(part); err != nil {
			part = net.JoinHostPort(strings.Trim(part, "[]"), memcachePort)
		}
		servers = append(servers, part)
	}
	return servers, nil
}

// NewMemcache returns a store. It connects when it is used.
func NewMemcache(options MemcacheOptions) (*Memcache, error) {
	if options.Timeout <= 0 {
		options.Timeout = DefaultTimeout
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	selector := new(memcache.ServerList)
	if err := selector.SetServers(options.Servers...); err != nil {
		return nil, fmt.Errorf("finding the servers of the cache: %w", err)
	}
	client := memcache.NewFromSelector(selector)
	client.Timeout = options.Timeout
	client.MaxIdleConns = 16
	return &Memcache{client: client, now: options.Now}, nil
}

// Key returns "<plugin>:<plugin>:<key>", as all backends of the family do.
func (*Memcache) Key(plugin, key string) string { return plugin + ":" + plugin + ":" + key }

// Get returns the value.
func (m *Memcache) Get(ctx context.Context, name string) ([]byte, bool, error) {
	if err := ctx.Err(); err != nil {
		return nil, false, err
	}
	item, err := m.client.Get(name)
	if errors.Is(err, memcache.ErrCacheMiss) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	return item.Value, true, nil
}

// Set keeps the value, for whole seconds, rounded up.
func (m *Memcache) Set(ctx context.Context, name string, value []byte, ttl time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return m.client.Set(&memcache.Item{Key: name, Value: value, Expiration: m.expiration(ttl)})
}

// maxRelative is the longest time that memcached counts from now; what is
// larger it takes for a date.
const maxRelative = 30 * 24 * time.Hour

func (m *Memcache) expiration(ttl time.Duration) int32 {
	if ttl <= 0 {
		return 0
	}
	seconds := (ttl + time.Second - 1) / time.Second
	if ttl > maxRelative {
		seconds += time.Duration(m.now().Unix())
	}
	return int32(min(seconds, 1<<31-1))
}

// Delete forgets the name.
func (m *Memcache) Delete(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := m.client.Delete(name); !errors.Is(err, memcache.ErrCacheMiss) {
		return err
	}
	return nil
}

// Close disconnects.
func (m *Memcache) Close() error { return m.client.Close() }
