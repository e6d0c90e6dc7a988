package main

import (
	"path/filepath"
	"slices"
	"testing"
)

func TestTheListIsCurrent(t *testing.T) {
	t.Parallel()
	if err := run(filepath.Join("..", "..", ".."), true); err != nil {
		t.Error(err)
	}
}

func TestIdentify(t *testing.T) {
	t.Parallel()
	const (
		mit = "Permission is hereby granted, free of charge, to any person … to deal in the Software\nwithout restriction … THE SOFTWARE IS PROVIDED “AS IS”"
		bsd = "Redistribution and use in source and binary forms,\n with or without modification"
	)
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{"MIT", mit, []string{"MIT"}},
		{"BSD with two clauses", bsd, []string{"BSD-2-Clause"}},
		{"BSD with three clauses", bsd + " … may be used to endorse or\n promote products", []string{"BSD-3-Clause"}},
		{"two in one file", mit + "\n\n" + bsd, []string{"MIT", "BSD-2-Clause"}},
		{"Apache", "Apache License\n   Version 2.0, January 2004", []string{"Apache-2.0"}},
		{"none", "All rights reserved.", nil},
	} {
		if got := identify(tt.text); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestKindOf(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"LICENSE": "licence", "License.txt": "licence", "COPYING": "licence", "NOTICE.txt": "notice", "README.md": "", "license.go": ""} {
		if got, ok := kindOf(name); got != want || ok != (want != "") {
			t.Errorf("%s: %q %t", name, got, ok)
		}
	}
}
