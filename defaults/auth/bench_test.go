package auth_test

import "testing"

func BenchmarkAuthenticate(b *testing.B) {
	p := start(b, externalConfig)
	now := p.clock.now()
	catalog, search := p.plugin("catalog"), p.plugin("search")
	peer := newIssuer(b)
	p.places.set("remote", peer.url)
	local, err := search.PluginRequestToken(b.Context(), search.Own(), "catalog")
	if err != nil {
		b.Fatal(err)
	}
	user := p.users.user("user:default/jane", now)
	jane, err := search.Authenticate(b.Context(), user, false)
	if err != nil {
		b.Fatal(err)
	}
	behalf, err := search.PluginRequestToken(b.Context(), jane, "catalog")
	if err != nil {
		b.Fatal(err)
	}
	for name, token := range map[string]string{
		"static":        "static-token-1",
		"user":          user,
		"plugin-here":   local.Reveal(),
		"plugin-remote": peer.sign("vnd.backstage.plugin", claims{"sub": "remote", "aud": "catalog", "iat": now.Unix(), "exp": now.Unix() + 3000}),
		"on-behalf":     behalf.Reveal(),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := catalog.Authenticate(b.Context(), token, false); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("issue", func(b *testing.B) {
		for b.Loop() {
			if _, err := catalog.PluginRequestToken(b.Context(), catalog.Own(), "search"); err != nil {
				b.Fatal(err)
			}
		}
	})
}
