package kinds_test

import (
	"testing"

	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	"github.com/flytower/flytower/plugins/catalog-common/entitysearch"
)

// component is a typical final entity, of about 1.2 kB.
const component = `{"apiVersion":"backstage.io/v1alpha1","kind":"Component","metadata":{"annotations":{"backstage.io/managed-by-location":"url:https://git.example/shop/checkout/catalog-info.yaml",` +
	`"backstage.io/managed-by-origin-location":"url:https://git.example/shop/all.yaml","backstage.io/source-location":"url:https://git.example/shop/checkout/","backstage.io/techdocs-ref":"dir:.",` +
	`"github.com/project-slug":"shop/checkout"},"description":"Takes the order, asks for the money and tells the warehouse.","labels":{"tier":"1"},` +
	`"links":[{"icon":"dashboard","title":"Dashboard","url":"https://dash.example/d/checkout"}],"name":"checkout","namespace":"default","tags":["go","payments","tier-1"],"title":"Checkout"},` +
	`"spec":{"consumesApis":["ledger","stock"],"dependsOn":["component:default/mailer","resource:default/orders-db"],"lifecycle":"production","owner":"group:payments",` +
	`"providesApis":["checkout-v1","checkout-v2"],"system":"shop","type":"service"}}`

func typical(b *testing.B) catalogcommon.Entity {
	e, err := catalogcommon.ParseEntity([]byte(component))
	if err != nil {
		b.Fatal(err)
	}
	return e
}

func BenchmarkParseJSON(b *testing.B) {
	b.SetBytes(int64(len(component)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := catalogcommon.ParseEntity([]byte(component)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendJSON(b *testing.B) {
	e := typical(b)
	buf := make([]byte, 0, 4096)
	b.SetBytes(int64(len(component)))
	b.ReportAllocs()
	for b.Loop() {
		buf = e.AppendJSON(buf[:0])
	}
	if string(buf) != component {
		b.Fatal("the text is not the one it was read from")
	}
}

func BenchmarkHash(b *testing.B) {
	e := typical(b)
	b.ReportAllocs()
	for b.Loop() {
		e.Hash()
	}
}

func BenchmarkClone(b *testing.B) {
	e := typical(b)
	b.ReportAllocs()
	for b.Loop() {
		e.Clone()
	}
}

func BenchmarkEnvelope(b *testing.B) {
	e := typical(b)
	b.ReportAllocs()
	for b.Loop() {
		if err := catalogcommon.ValidateEnvelope(e); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPolicy(b *testing.B) {
	e := typical(b)
	policy := catalogcommon.DefaultPolicy(catalogcommon.Validators{})
	b.ReportAllocs()
	for b.Loop() {
		if err := policy(e); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkValidateKind(b *testing.B) {
	e := typical(b)
	set := all()
	b.ReportAllocs()
	for b.Loop() {
		if ok, err := set.Validate(e); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}

func BenchmarkRelations(b *testing.B) {
	e := typical(b)
	set := all()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := set.Relations(e); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSearchRows(b *testing.B) {
	e := typical(b)
	b.ReportAllocs()
	for b.Loop() {
		entitysearch.Rows(e)
	}
}
