//go:build unix

package permissionbackend_test

import (
	"fmt"
	"net/http"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/flytower/flytower/backendtest"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/catalog-node/conditions"
	permissionnode "github.com/flytower/flytower/plugins/permission-node"
)

// BenchmarkList is a page of the catalog, over HTTP with real tokens: for a
// service, which no policy is asked about, for a user who may see everything,
// and for one who may see what a condition says.
func BenchmarkList(b *testing.B) {
	more := make([]string, 500)
	for i := range more {
		more[i] = fmt.Sprintf("component-%d", i)
	}
	p := newPortal(b, more...)
	for _, bm := range []struct {
		name   string
		as     backendtest.Identity
		decide func(*permissionnode.User) core.Decision
	}{
		{"service", backendtest.Token(fullToken), nil},
		{"allowed", p.guest, func(*permissionnode.User) core.Decision { return permissionnode.Allow() }},
		{"conditional", p.guest, func(u *permissionnode.User) core.Decision {
			return conditions.Entity.When(permissionnode.AnyOf(conditions.IsEntityOwner(u.Info.OwnershipEntityRefs...), conditions.IsEntityKind("component")))
		}},
	} {
		for _, limit := range []int{20, 200} {
			b.Run(fmt.Sprintf("%s/%d", bm.name, limit), func(b *testing.B) {
				p.decision.Store(&ruling{"catalog.entity.read", bm.decide})
				c := p.client.As(bm.as)
				path := fmt.Sprintf("/api/catalog/entities/by-query?limit=%d&filter=kind=component&orderField=metadata.name,asc", limit)
				b.ReportAllocs()
				began := processorTime()
				for b.Loop() {
					if r := c.Get(path); r.Status != http.StatusOK {
						b.Fatal(r.Text())
					}
				}
				b.ReportMetric(float64(processorTime()-began)/float64(b.N), "cpu-ns/op")
			})
		}
	}
}

// processorTime returns what this process took so far, which depends less on
// what else a machine does than the time that passes.
func processorTime() time.Duration {
	var used syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &used) != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// BenchmarkAuthorize is a request of a frontend for a page of resources, all
// of which conditions are applied to.
func BenchmarkAuthorize(b *testing.B) {
	p := newPortal(b)
	p.decision.Store(&ruling{"catalog.entity.delete", func(u *permissionnode.User) core.Decision {
		return conditions.Entity.When(conditions.IsEntityOwner(u.Info.OwnershipEntityRefs...))
	}})
	for _, n := range []int{1, 100} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			items := make([]any, n)
			for i := range items {
				items[i] = map[string]any{"id": strconv.Itoa(i), "resourceRef": "component:default/mine", "permission": catalogPermissions[2]}
			}
			c, body := p.client.As(p.guest), map[string]any{"items": items}
			for b.Loop() {
				if r := c.Post("/api/permission/authorize", body); r.Status != http.StatusOK {
					b.Fatal(r.Text())
				}
			}
		})
	}
}
