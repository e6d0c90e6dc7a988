// Package catalogcommon is the catalog's entity model: what an entity is, how
// it is named, which forms its fields have and how it relates to others. It
// consists of values and pure functions, so every plugin, module and client
// may import it; it imports nothing of Flytower but its own sub-packages.
//
//	e, err := catalogcommon.ParseEntity(text)
//	if err == nil {
//		err = catalogcommon.ValidateEnvelope(e)
//	}
//	if err == nil {
//		err = catalogcommon.DefaultPolicy(catalogcommon.Validators{})(e)
//	}
//	fmt.Println(e.Ref()) // component:default/website
//
// Sub-packages, each with one idea:
//   - schema: JSON Schema validation with the messages that catalog clients know
//   - kinds: the built-in kinds: their schemas and their relations
//   - entityyaml: YAML text to entities, document by document
//   - entitysearch: the search rows of an entity
//
// Errors are typed where a caller or the wire distinguishes them. Each of them
// has an ErrorName method with the name that it carries in serialised form
// ("TypeError", "InputError", "Error").
package catalogcommon
