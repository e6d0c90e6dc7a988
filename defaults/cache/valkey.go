package cache

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/valkey-io/valkey-go"
)

// ValkeyOptions configure a [Valkey].
type ValkeyOptions struct {
	// URL is redis://[user:password@]host:port[/db], rediss:// for TLS, or
	// unix://. Not needed with Nodes.
	URL string
	// Username and Password, if not empty, replace those of the URLs.
	Username, Password string
	// Database, if positive, replaces that of the URL.
	Database int
	// ClientName is shown in the list of connections of the server.
	ClientName string
	// Nodes are URLs of nodes of a cluster; the others are found through them.
	Nodes []string
	// ReadReplicas reads from replicas of a cluster, too.
	ReadReplicas bool
	// KeyFormat returns the name of a key of a plugin. Nil is "plugin:key".
	KeyFormat func(plugin, key string) string
	// Timeout limits how long connecting takes; 0 is [DefaultTimeout].
	Timeout time.Duration
}

// Valkey is a store in Valkey or Redis.
type Valkey struct {
	client valkey.Client
	format func(plugin, key string) string
}

// CheckValkey reports options that cannot work, without connecting.
func CheckValkey(options ValkeyOptions) error {
	_, err := clientOption(options)
	return err
}

// OpenValkey connects.
func OpenValkey(options ValkeyOptions) (*Valkey, error) {
	option, err := clientOption(options)
	if err != nil {
		return nil, err
	}
	client, err := valkey.NewClient(option)
	if err != nil {
		return nil, fmt.Errorf("connecting to the cache: %w", err)
	}
	format := options.KeyFormat
	if format == nil {
		format = func(plugin, key string) string { return plugin + ":" + key }
	}
	return &Valkey{client: client, format: format}, nil
}

func clientOption(options ValkeyOptions) (valkey.ClientOption, error) {
	urls := options.Nodes
	if len(urls) == 0 {
		urls = []string{options.URL}
	}
	var option valkey.ClientOption
	for i, u := range urls {
		parsed, err := valkey.ParseURL(u)
		if err != nil {
			// The error of the parser may repeat the URL, and with it the password.
			return option, errors.New("the connection must be a URL such as redis://user:password@host:6379")
		}
		if i == 0 {
			option = parsed
		} else {
			option.InitAddress = append(option.InitAddress, parsed.InitAddress...)
		}
	}
	if options.Username != "" {
		option.Username = options.Username
	}
	if options.Password != "" {
		option.Password = options.Password
	}
	if options.Database > 0 {
		option.SelectDB = options.Database
	}
	option.ClientName = options.ClientName
	if option.Dialer.Timeout = options.Timeout; options.Timeout <= 0 {
		option.Dialer.Timeout = DefaultTimeout
	}
	option.ForceSingleClient = len(options.Nodes) == 0
	if options.ReadReplicas && !option.ForceSingleClient {
		option.SendToReplicas = func(c valkey.Completed) bool { return c.IsReadOnly() }
	}
	// Client-side caching would need a protocol that older servers lack, and
	// the default buffers are for far more traffic than a cache has.
	option.DisableCache, option.AlwaysRESP2 = true, true
	option.ReadBufferEachConn, option.WriteBufferEachConn = 64<<10, 64<<10
	return option, nil
}

// Key returns the name of a key.
func (v *Valkey) Key(plugin, key string) string { return v.format(plugin, key) }

// Get returns the value.
func (v *Valkey) Get(ctx context.Context, name string) ([]byte, bool, error) {
	value, err := v.client.Do(ctx, v.client.B().Get().Key(name).Build()).AsBytes()
	if valkey.IsValkeyNil(err) {
		return nil, false, nil
	}
	return value, err == nil, err
}

// Set keeps the value; the server removes it when it expires.
func (v *Valkey) Set(ctx context.Context, name string, value []byte, ttl time.Duration) error {
	set := v.client.B().Set().Key(name).Value(valkey.BinaryString(value))
	if ttl > 0 {
		return v.client.Do(ctx, set.Px(max(ttl, time.Millisecond)).Build()).Error()
	}
	return v.client.Do(ctx, set.Build()).Error()
}

// Delete forgets the name.
func (v *Valkey) Delete(ctx context.Context, name string) error {
	return v.client.Do(ctx, v.client.B().Unlink().Key(name).Build()).Error()
}

// Close disconnects.
func (v *Valkey) Close() error {
	v.client.Close()
	return nil
}
