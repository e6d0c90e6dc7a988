package main

import "strings"

// phrases that occur in one licence only, in lower case, with single spaces.
type phrases struct {
	spdx string
	all  []string
	none []string
}

func known() []phrases {
	return []phrases{
		{"Apache-2.0", []string{"apache license", "version 2.0, january 2004"}, nil},
		{"Apache-2.0", []string{"licensed under the apache license, version 2.0"}, nil},
		{"MIT", []string{"permission is hereby granted, free of charge", "without restriction", "the software is provided \"as is\""}, nil},
		{"ISC", []string{"permission to use, copy, modify, and", "distribute this software for any purpose with or without fee is hereby granted"}, nil},
		{"BSD-3-Clause", []string{"redistribution and use in source and binary forms", "endorse or promote products"}, nil},
		{"BSD-2-Clause", []string{"redistribution and use in source and binary forms"}, []string{"endorse or promote products"}},
		{"MPL-2.0", []string{"mozilla public license version 2.0"}, nil},
		{"Unlicense", []string{"this is free and unencumbered software released into the public domain"}, nil},
		{"blessing", []string{"the author disclaims copyright to this source code"}, nil},
		{"blessing", []string{"sqlite", "dedicated to the public domain"}, nil},
	}
}

// identify returns the SPDX ids of the licences whose texts are in text.
func identify(text string) []string {
	normal := strings.ToLower(strings.Join(strings.Fields(text), " "))
	normal = strings.NewReplacer("“", `"`, "”", `"`, "``", `"`, "''", `"`).Replace(normal)
	var out []string
candidates:
	for _, k := range known() {
		for _, p := range k.all {
			if !strings.Contains(normal, p) {
				continue candidates
			}
		}
		for _, p := range k.none {
			if strings.Contains(normal, p) {
				continue candidates
			}
		}
		out = append(out, k.spdx)
	}
	return out
}
