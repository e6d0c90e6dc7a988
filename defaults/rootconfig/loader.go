package rootconfig

import "context"

type loader struct{}

func (l *loader) load(ctx context.Context) ([]Layer, error) { return nil, nil }
func (l *loader) describe(layers []Layer) []string           { return nil }
