package template

import (
	"context"
	"strconv"
	"strings"
)

// Expander renders the texts within a value: the input of a step, for example.
type Expander struct {
	Environment *Environment
	// Cache may be nil.
	Cache *Cache
	// OnError is told about texts that cannot be rendered, with their place in
	// the value, such as input.values[0].name. It may be nil.
	OnError func(path string, err error)
}

// Expand returns a copy of the value in which each text is what
// [Environment.Eval] makes of it; keys stay as they are. An entry of a record
// whose text becomes undefined is left out. A text that cannot be rendered
// stays as it is written, which is how the scaffolder has always treated the
// input of steps. The error is that of the context.
func (x *Expander) Expand(ctx context.Context, path string, v Value, variables *Record) (Value, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	switch v := v.(type) {
	case String:
		return x.text(ctx, path, v, variables), nil
	case *Array:
		items := make([]Value, len(v.items))
		for i, item := range v.items {
			expanded, err := x.Expand(ctx, path+"["+strconv.Itoa(i)+"]", item, variables)
			if err != nil {
				return nil, err
			}
			items[i] = expanded
		}
		return &Array{items: items}, nil
	case *Record:
		r := &Record{}
		for key, value := range v.All() {
			expanded, err := x.Expand(ctx, path+"."+key, value, variables)
			if err != nil {
				return nil, err
			}
			if !isUndefined(expanded) {
				r.Set(key, expanded)
			}
		}
		return r, nil
	}
	return v, nil
}

func (x *Expander) text(ctx context.Context, path string, text String, variables *Record) Value {
	if !strings.Contains(string(text), "{") && !strings.Contains(string(text), "#}") {
		return text // nothing to render
	}
	parse := Parse
	if x.Cache != nil {
		parse = x.Cache.Parse
	}
	t, err := parse(path, string(text), Syntax{})
	var v Value
	if err == nil {
		v, err = x.Environment.Eval(ctx, t, variables)
	}
	if err != nil {
		if x.OnError != nil {
			x.OnError(path, err)
		}
		return text
	}
	return v
}
