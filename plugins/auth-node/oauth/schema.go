package oauth

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// ConfigSchema returns the schema of the configuration of a provider, for
// [core.ConfigSchema]: what the kit reads, the credentials of the client, and
// own, the properties that the provider reads itself, as a JSON object or
// empty. resolvers are the names that signIn.resolvers may have beside the
// common ones. It panics if own is no JSON object.
func ConfigSchema(id, description, own string, resolvers ...string) string {
	properties := map[string]any{}
	if own != "" {
		if err := json.Unmarshal([]byte(own), &properties); err != nil {
			panic(fmt.Sprintf("oauth.ConfigSchema: the settings of %s: %v", id, err))
		}
	}
	maps.Copy(properties, map[string]any{
		"clientId":     described("string", "The id under which the backend is registered at the identity provider."),
		"clientSecret": map[string]any{"type": "string", "visibility": "secret", "description": "The secret that belongs to clientId."},
		"callbackUrl":  described("string", "Where the identity provider sends users back, if not <auth URL>/"+id+"/handler/frame. Cookies belong to its path."),
		"additionalScopes": map[string]any{
			"type": []string{"array", "string"}, "items": map[string]any{"type": "string"},
			"description": "Scopes that are always asked for, beside those that the provider needs: a list, or a text with spaces or commas. Default: none.",
		},
		"sessionDuration": map[string]any{"type": []string{"string", "object"}, "description": "How long a browser keeps the session with the identity provider, a duration. Default: 1000 days."},
		"signIn":          SignInSchema(resolvers...),
	})
	schema := map[string]any{
		"type": "object", "description": description,
		"additionalProperties": map[string]any{"type": "object", "description": "The settings of an environment; auth.environment says which one the frontend uses.", "properties": properties},
	}
	for _, level := range []struct{ member, description string }{{id, "The sign-in providers by id."}, {"providers", "How users sign in."}, {"auth", "The configuration."}} {
		schema = map[string]any{"type": "object", "description": level.description, "properties": map[string]any{level.member: schema}}
	}
	schema["$schema"] = "http://json-schema.org/draft-07/schema#"
	text, err := json.Marshal(schema)
	if err != nil {
		panic(err) // maps and texts are JSON
	}
	return string(text)
}

// SignInSchema returns the schema of the level signIn; see [ConfigSchema].
func SignInSchema(resolvers ...string) map[string]any {
	names := slices.Concat([]string{"emailMatchingUserEntityProfileEmail", "emailLocalPartMatchingUserEntityName"}, resolvers)
	slices.Sort(names)
	return map[string]any{
		"type": "object", "description": "Which users of the catalog the users of the provider are. Without, nobody signs in: the provider gives access to its API only.",
		"properties": map[string]any{"resolvers": map[string]any{
			"type": "array", "description": "Tried in turn, until one finds a user.",
			"items": map[string]any{
				"type": "object", "required": []string{"resolver"}, "description": "A resolver and its options.",
				"properties": map[string]any{
					"resolver":       described("string", "The name of the resolver: "+strings.Join(names, ", ")+"."),
					"allowedDomains": map[string]any{"type": "array", "items": map[string]any{"type": "string"}, "description": "For resolvers of e-mail addresses: the domains that they may have. Default: any."},
					"dangerouslyAllowSignInWithoutUserInCatalog": described("boolean", "Let users sign in whom the catalog does not have, under the name that they have at the provider. Default: false."),
				},
			},
		}},
	}
}

func described(kind, text string) map[string]any {
	return map[string]any{"type": kind, "description": text}
}
