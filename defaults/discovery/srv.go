package discovery

import (
	"context"
	"errors"
	"net"
	"strings"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/internal/flight"
)

const (
	srvTTL = time.Second // records are kept for so long
	srvMax = 100         // names kept
)

// srvCache looks SRV records up and chooses among them.
type srvCache struct {
	resolver Resolver
	random   func(n int) int
	records  *flight.Cache[string, []*net.SRV]
}

func newSRVCache(r Resolver, now func() time.Time, random func(int) int) *srvCache {
	return &srvCache{resolver: r, random: random, records: flight.NewCache[string, []*net.SRV](srvMax, srvTTL, now)}
}

// pick returns "host:port" of one of the records of the name: of those with
// the lowest priority, each as often as its weight says.
func (c *srvCache) pick(ctx context.Context, name string) (string, error) {
	records, err := c.records.Get(ctx, name, func(ctx context.Context) ([]*net.SRV, error) {
		_, records, err := c.resolver.LookupSRV(ctx, "", "", name)
		return records, err
	})
	var missing *net.DNSError
	if errors.As(err, &missing) && missing.IsNotFound || err == nil && len(records) == 0 {
		return "", apierr.NotFound("No SRV records found for %s", name)
	}
	if err != nil {
		return "", apierr.ServiceUnavailable("looking up the SRV records of %s: %w", name, err)
	}
	lowest := records[0].Priority
	for _, r := range records {
		lowest = min(lowest, r.Priority)
	}
	total := 0
	var best []*net.SRV
	for _, r := range records {
		if r.Priority == lowest {
			best = append(best, r)
			total += int(r.Weight)
		}
	}
	var chosen *net.SRV
	if total == 0 {
		chosen = best[c.random(len(best))]
	} else {
		for n := c.random(total); ; best = best[1:] {
			if n -= int(best[0].Weight); n < 0 {
				chosen = best[0]
				break
			}
		}
	}
	return hostPort(strings.TrimSuffix(chosen.Target, "."), int(chosen.Port)), nil
}
