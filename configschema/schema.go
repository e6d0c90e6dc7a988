package configschema

// Schema is the merged schema of a configuration.
type Schema struct{}

// Secrets returns the secret strings of data.
func (s *Schema) Secrets(data any) []string { return nil }
