package yaml12_test

import (
	"testing"

	"github.com/flytower/flytower/internal/yaml12"
)

const component = `apiVersion: backstage.io/v1alpha1
kind: Component
metadata:
  name: checkout
  title: Checkout
  description: >-
    Takes the order, asks for the money
    and tells the warehouse.
  labels:
    tier: "1"
  annotations:
    github.com/project-slug: shop/checkout
    backstage.io/techdocs-ref: dir:.
    backstage.io/source-location: url:https://git.example/shop/checkout/
  tags: [go, payments, tier-1]
  links:
    - url: https://dash.example/d/checkout
      title: Dashboard
      icon: dashboard
spec:
  type: service
  lifecycle: production
  owner: group:payments
  system: shop
  providesApis: [checkout-v1, checkout-v2]
  consumesApis:
    - stock
    - ledger
  dependsOn:
    - resource:default/orders-db
    - component:default/mailer
`

func BenchmarkDocuments(b *testing.B) {
	b.SetBytes(int64(len(component)))
	b.ReportAllocs()
	for b.Loop() {
		for doc := range yaml12.Documents([]byte(component), yaml12.Options{}) {
			if doc.Err != nil {
				b.Fatal(doc.Err)
			}
		}
	}
}
