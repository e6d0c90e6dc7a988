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
	// MaxBytes bounds the length of all texts of the copy together, also those
	// that it has several times. 0 is no bound.
	MaxBytes int64
}

// Expand returns a copy of the value in which each text is what
// [Environment.Eval] makes of it; keys stay as they are. An entry of a record
// whose text becomes undefined is left out. A text that cannot be rendered
// stays as it is written, which is how the scaffolder has always treated the
// input of steps. The error is that of the context, or a [*LimitError].
func (x *Expander) Expand(ctx context.Context, path string, v Value, variables *Record) (Value, error) {
	used := int64(0)
	return x.expand(ctx, path, v, variables, &used)
}

func (x *Expander) expand(ctx context.Context, path string, v Value, variables *Record, used *int64) (Value, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	switch v := v.(type) {
	case String:
		expanded := x.text(ctx, path, v, variables)
		if x.MaxBytes > 0 {
			if *used += textBytes(expanded, x.MaxBytes-*used); *used > x.MaxBytes {
				return nil, &LimitError{Template: path, Limit: "ExpandedBytes", Max: x.MaxBytes}
			}
		}
		return expanded, nil
	case *Array:
		items := make([]Value, len(v.items))
		for i, item := range v.items {
			expanded, err := x.expand(ctx, path+"["+strconv.Itoa(i)+"]", item, variables, used)
			if err != nil {
				return nil, err
			}
			items[i] = expanded
		}
		return &Array{items: items}, nil
	case *Record:
		r := &Record{}
		for key, value := range v.All() {
			expanded, err := x.expand(ctx, path+"."+key, value, variables, used)
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

// textBytes counts the texts of a value, and each part of it as one; it stops
// when there are more than left.
func textBytes(v Value, left int64) int64 {
	size := int64(1)
	switch v := v.(type) {
	case String:
		size += int64(len(v))
	case *Array:
		for _, item := range v.items {
			if size > left {
				break
			}
			size += textBytes(item, left-size)
		}
	case *Record:
		for key, value := range v.All() {
			if size > left {
				break
			}
			size += int64(len(key)) + textBytes(value, left-size)
		}
	}
	return size
}
