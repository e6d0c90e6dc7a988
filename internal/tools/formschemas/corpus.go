package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// example is a schema and a value, as JSON.
type example struct{ schema, value string }

// values are those that each schema of a table is applied to.
var values = []string{
	`null`, `true`, `false`, `0`, `1`, `-1`, `2`, `3`, `10`, `0.1`, `0.3`, `1.5`, `1e21`, `1e-7`,
	`""`, `"a"`, `"1"`, `"abc"`, `"ABC"`, `"aa"`, `"😀"`, `"😀😀"`, `"é"`,
	`[]`, `[1]`, `[1,1]`, `[1,"1"]`, `["a","b","c"]`, `[[1],[1]]`, `[{"a":1,"b":2},{"b":2,"a":1}]`, `[null]`, `[0,"x",true]`,
	`{}`, `{"a":1}`, `{"a":"x","b":2}`, `{"b":null}`, `{"0":1,"a.b":2,"c d":3,"1x":4,"[":5,"":6}`, `{"a":{"b":{"c":1}}}`, `{"a":[1,2,{"b":3}]}`,
	`{"1":"x","10":"y","b":"z","a":"w"}`,
}

// keywords are schemas of one thing each.
var keywords = []string{
	`true`, `false`, `{}`, `{"type":"string"}`, `{"type":"number"}`, `{"type":"integer"}`, `{"type":"boolean"}`, `{"type":"array"}`, `{"type":"null"}`,
	`{"type":"object"}`, `{"type":"any"}`, `{"type":"date"}`, `{"type":"file"}`, `{"type":["string","null"]}`, `{"type":["string","no such"]}`, `{"type":[]}`,
	`{"type":""}`, `{"type":5}`, `{"type":null}`, `{"type":[null]}`, `{"type":{"minLength":2}}`, `{"type":["number",{"minLength":2}]}`, `{"type":["number",{"id":"x","minLength":2}]}`,
	`{"type":true}`, `{"type":["string",7,true]}`,
	`{"required":["a"]}`, `{"required":["a","b","a.b"]}`, `{"required":[]}`, `{"required":true}`, `{"required":false}`, `{"required":"a"}`, `{"required":[1]}`, `{"required":null}`,
	`{"enum":["a",1,null]}`, `{"enum":[]}`, `{"enum":[1,1]}`, `{"enum":[{"a":1},[1]]}`, `{"enum":"a"}`, `{"enum":[true,0.5,{"b":2}]}`, `{"enum":null}`,
	`{"const":1}`, `{"const":null}`, `{"const":{"a":1}}`, `{"const":[1]}`, `{"const":"a"}`, `{"const":true}`, `{"const":1e21}`,
	`{"minLength":2}`, `{"maxLength":1}`, `{"minLength":"2"}`, `{"maxLength":1.5}`, `{"minLength":null}`, `{"minLength":[3]}`, `{"maxLength":"x"}`,
	`{"minItems":2}`, `{"maxItems":1}`, `{"minItems":"2"}`, `{"maxItems":null}`, `{"minItems":true}`,
	`{"minProperties":2}`, `{"maxProperties":1}`, `{"minProperties":"2"}`,
	`{"minimum":1}`, `{"maximum":1}`, `{"minimum":1,"exclusiveMinimum":true}`, `{"maximum":1,"exclusiveMaximum":true}`, `{"exclusiveMinimum":true,"minimum":1}`,
	`{"exclusiveMinimum":1}`, `{"exclusiveMaximum":1}`, `{"minimum":1,"exclusiveMinimum":2}`, `{"minimum":"1"}`, `{"maximum":"x"}`, `{"exclusiveMinimum":"1"}`, `{"exclusiveMinimum":false,"minimum":1}`,
	`{"minimum":null}`, `{"exclusiveMaximum":null}`, `{"exclusiveMinimum":true}`,
	`{"multipleOf":2}`, `{"multipleOf":0.1}`, `{"multipleOf":0.01}`, `{"divisibleBy":2}`, `{"multipleOf":0}`, `{"multipleOf":1e-7}`, `{"multipleOf":"2"}`, `{"multipleOf":null}`, `{"multipleOf":1.5}`, `{"multipleOf":-1}`,
	`{"pattern":"a"}`, `{"pattern":"^a+$"}`, `{"pattern":"^(?!a)"}`, `{"pattern":"^.$"}`, `{"pattern":"\\p{L}"}`, `{"pattern":"^\\-"}`, `{"pattern":"["}`, `{"pattern":5}`, `{"pattern":"^[^\"/]*$"}`, `{"pattern":"(?<=a)b"}`, `{"pattern":null}`, `{"pattern":""}`,
	`{"pattern":"^[\\w-_]+$"}`, `{"pattern":"^a{,3}$"}`, `{"pattern":true}`,
	`{"format":"email"}`, `{"format":"no such"}`, `{"format":5}`, `{"format":null}`,
	`{"additionalProperties":false}`, `{"additionalProperties":true}`, `{"additionalProperties":{"type":"number"}}`, `{"additionalProperties":{}}`, `{"additionalProperties":null}`, `{"additionalProperties":"x"}`, `{"additionalProperties":0}`,
	`{"properties":{"a":{"type":"number"}},"additionalProperties":false}`, `{"additionalProperties":false,"properties":{"a":{},"b":{}}}`,
	`{"properties":{"a":{"required":true},"b":{"type":"string"}}}`, `{"properties":{"a":null}}`, `{"properties":{"a":true,"b":false}}`, `{"properties":null}`, `{"properties":[]}`, `{"properties":{"a.b":{"type":"string"},"0":{"type":"string"},"1x":{"type":"string"},"[":{"type":"string"},"":{"type":"string"}}}`,
	`{"properties":{"a":"x"}}`, `{"properties":{"a":5}}`, `{"properties":{"10":{"type":"number"},"1":{"type":"number"},"b":{"type":"number"},"a":{"type":"number"}}}`,
	`{"properties":"x"}`, `{"properties":{"a":{"properties":{"b":{"properties":{"c":{"type":"string","minLength":3}}}}}}}`, `{"properties":{"a":{"items":{"properties":{"b":{"type":"string"}},"type":"number"}}}}`,
	`{"patternProperties":{"^a":{"type":"number"}}}`, `{"patternProperties":{"^a":{"type":"number"},"b":{"type":"string"}},"additionalProperties":false}`, `{"patternProperties":{"^a":{}},"additionalProperties":{"type":"string"}}`,
	`{"additionalProperties":false,"patternProperties":{}}`, `{"patternProperties":{"^a":null}}`, `{"patternProperties":{"^a":true,".":false}}`, `{"patternProperties":{}}`, `{"patternProperties":null,"additionalProperties":false}`,
	`{"propertyNames":{"maxLength":1}}`, `{"propertyNames":{"pattern":"^a"}}`, `{"propertyNames":false}`, `{"propertyNames":true}`, `{"propertyNames":"x"}`, `{"propertyNames":null}`, `{"propertyNames":[]}`,
	`{"items":{"type":"number"}}`, `{"items":[{"type":"number"},{"type":"string"}]}`, `{"items":[{"type":"number"}],"additionalItems":false}`, `{"items":[{"type":"number"}],"additionalItems":{"type":"string"}}`, `{"additionalItems":false}`,
	`{"items":false}`, `{"items":true}`, `{"items":[]}`, `{"items":[true,false]}`, `{"items":null}`, `{"items":"x"}`, `{"items":[],"additionalItems":false}`,
	`{"contains":{"type":"number"}}`, `{"contains":{"const":"a"}}`, `{"contains":false}`, `{"contains":true}`, `{"contains":"x"}`, `{"contains":null}`, `{"contains":{"title":"T","type":"boolean"}}`, `{"contains":{"$id":"c","type":"boolean"}}`,
	`{"uniqueItems":true}`, `{"uniqueItems":false}`, `{"uniqueItems":"yes"}`,
	`{"anyOf":[{"type":"string"},{"type":"null"}]}`, `{"anyOf":[{"title":"A \"b\"","type":"string"},{"$ref":"#/definitions/n"}],"definitions":{"n":{"type":"null"}}}`, `{"anyOf":[{"id":"one","type":"string"},{"$id":"two","type":"null"}]}`,
	`{"anyOf":[]}`, `{"anyOf":[true,false]}`, `{"anyOf":[false]}`, `{"anyOf":{}}`, `{"anyOf":[null]}`, `{"anyOf":["x"]}`, `{"anyOf":[{"properties":{"a":{"type":"number"}},"required":["a"]},{"minItems":1}]}`,
	`{"oneOf":[{"type":"number"},{"type":"integer"}]}`, `{"oneOf":[{"title":"A","type":"number"},{"$id":"i","type":"integer"},{"id":"j"}]}`, `{"oneOf":[]}`, `{"oneOf":[true,true]}`, `{"oneOf":"x"}`, `{"oneOf":[{"required":["a"]},{"required":["b"]}]}`,
	`{"oneOf":[{"$ref":"#/definitions/n"},{"type":"string"}],"definitions":{"n":{"type":"string"}}}`,
	`{"allOf":[{"type":"string"},{"minLength":2}]}`, `{"allOf":[{"title":"A","type":"string"}]}`, `{"allOf":[{"$id":"x","type":"string"}]}`, `{"allOf":[]}`, `{"allOf":[true]}`, `{"allOf":[false]}`, `{"allOf":{}}`, `{"allOf":[{"allOf":[{"type":"null"}]},{"properties":{"a":{"type":"string"}}}]}`,
	`{"allOf":[{"$ref":"#/definitions/n"}],"definitions":{"n":{"type":"number"}}}`,
	`{"not":{"type":"string"}}`, `{"not":"string"}`, `{"not":["string","number"]}`, `{"not":[{"type":"string"},"null"]}`, `{"not":{}}`, `{"not":{"id":"n","type":"string"}}`, `{"not":{"title":"T","type":"string"}}`, `{"not":true}`, `{"not":false}`, `{"not":"no such"}`, `{"not":null}`, `{"not":[]}`,
	`{"disallow":"string"}`, `{"disallow":["string",{"type":"array"}]}`, `{"not":{"required":["a"]}}`, `{"not":"any"}`, `{"not":5}`, `{"not":[null]}`, `{"not":{"type":"string"},"disallow":"number"}`,
	`{"if":{"type":"string"},"then":{"minLength":2},"else":{"minimum":2}}`, `{"if":true,"then":false}`, `{"if":false,"then":false}`, `{"if":false,"else":false}`, `{"if":{"type":"string"}}`, `{"if":"x","then":{}}`, `{"then":false,"else":false}`, `{"if":{"type":"string"},"then":"x"}`, `{"if":{"type":"string"},"then":null}`, `{"if":null}`,
	`{"if":{"properties":{"a":{"const":1}},"required":["a"]},"then":{"required":["b"]}}`,
	`{"dependencies":{"a":["b"]}}`, `{"dependencies":{"a":"b"}}`, `{"dependencies":{"a":{"required":["b"]}}}`, `{"dependencies":{"a":{"properties":{"b":{"required":true}}},"b":["a","c"]}}`, `{"dependencies":{"a":false}}`, `{"dependencies":{"a":true}}`, `{"dependencies":{"a":[]}}`, `{"dependencies":{"a":null}}`, `{"dependencies":null}`, `{"dependencies":{"0":["x.y"],"a.b":["z"]}}`,
	`{"dependencies":{"a":{"oneOf":[{"properties":{"a":{"enum":[1]},"b":{"type":"string"}},"required":["b"]},{"properties":{"a":{"enum":[2]}}}]}}}`, `{"dependencies":{"a":5}}`,
	`{"$ref":"#/definitions/n","type":"null","definitions":{"n":{"type":"number"}}}`, `{"$ref":"#"}`, `{"$ref":"#/nothing"}`, `{"properties":{"a":{"$ref":"#n"}},"definitions":{"n":{"$id":"#n","type":"string"}}}`, `{"properties":{"a":{"$ref":"n"}},"definitions":{"n":{"id":"n","type":"string"}}}`, `{"$ref":5,"type":"number"}`, `{"$ref":"http://json-schema.org/draft-07/schema#"}`, `{"$ref":"#/definitions/a~1b%25","definitions":{"a/b%":{"type":"number"}}}`,
	`{"items":{"$ref":"#"},"type":["array","number"]}`, `{"properties":{"a":{"$ref":"#/definitions/x"}},"definitions":{"x":{"type":"string"}}}`, `{"definitions":{"x":{"type":"string"}},"properties":{"a":{"$ref":"#/definitions/x","minLength":9}}}`,
	`{"extends":{"type":"number"}}`, `{"extends":[{"type":"number"},{"minimum":2}],"maximum":2}`,
	`{"$id":"s","type":"string"}`, `{"id":"s","type":"string"}`, `{"title":"T","type":"string"}`, `{"$id":"s","id":"t","type":"string"}`, `{"id":5,"type":"string"}`, `{"$id":"http://example.com/s","properties":{"a":{"type":"string"}}}`,
	`{"default":1,"description":5,"title":null,"$schema":"x","ui:field":"X","enumNames":["a"],"backstage:permissions":{"tags":["a"]},"examples":[1],"readOnly":true}`,
	`{"minLength":2,"type":"string","pattern":"^b"}`, `{"pattern":"^b","type":"string","minLength":2}`, `{"10":1,"type":"string","1":2,"minLength":5}`,
}

// formats and the texts whose format is asked for.
var (
	formats = strings.Fields(`date-time date time duration email idn-email ip-address ipv4 ipv6 uri iri uri-reference iri-reference uuid uri-template json-pointer
		relative-json-pointer hostname host-name utc-millisec regex regexp pattern style color phone alpha alphanumeric`)
	texts = []string{
		"", "a", "A1", "1", "-1", "1.0", "1.5", " 1", "1 ", "0x10", "1e3", "Infinity", "NaN", "abc", "a b", "é", "😀",
		"2020-01-01", "2020-00-01", "2020-13-01", "2020-01-32", "20-1-1", "2020-01-01T00:00:00Z", "2020-01-01t00:00:00z", "2020-01-01 00:00:00+01:00", "2020-01-01T24:00:60.123Z", "2020-01-01T00:00:00", "2020-01-01T00:00Z",
		"12:00:00", "24:59:60", "12:00", "12:00:00Z", "P1D", "PT1H", "P1Y2M3DT4H5M6S", "P", "p1w", "xP1Dx", "P1H", "PT",
		"a@b.com", "a@b", "a.b@c.d", "\"q\"@b.com", "a@[1.2.3.4]", "ü@é.com", "a@-b.com", "a@b-.com", ".a@b.com", "a..b@c.com", "a@b.c.", "@b.com", "a@",
		"1.2.3.4", "01.2.3.4", "256.1.1.1", "1.2.3", "::1", "fe80::1%eth0", " ::1 ", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7", "::ffff:1.2.3.4", "::g", "::",
		"http://example.com", "http:", "a:b c", "mailto:x@y", "//x/y", "/x", "?q=1#f", "x y", "%zz", "http://[::1]:80/", "http://é.com/", "a|b", "<x>", "#a#b", "a:b", "1a:b", ":x",
		"http://u@h/", "http://h:8x/", "//h:80", "http://h?x", "http://[::1]", "http://[v1.x]/", "http://[]/", "a/b:c", "a:", "%41", "?", "//", "///", "a//b", "a?b:c", "é:x", "http://é@x/", "mailto:é",
		"10e-1", "1e0", "0.0", ".0", "+1", "0b1", "0o7", "1_0", "9007199254740993",
		"123e4567-e89b-12d3-a456-426614174000", "123E4567-E89B-12D3-A456-426614174000", "123e4567e89b12d3a456426614174000", "{123e4567-e89b-12d3-a456-426614174000}",
		"/a/{b}", "{", "{a", "{?x,y*}", "{+a:3}", "}",
		"/a/b", "/a~0b", "/a~2b", "a/b", "/é", "0#", "1/a", "01/a", "#", "0", "/",
		"example.com", "ex_ample.com", "-a.com", "a-.com", "a.com.", "a..b", "a.b.c", strings.Repeat("a", 64) + ".com", strings.Repeat("a", 63) + ".com", strings.Repeat("a.", 130), "localhost",
		"(", "[a-", "^(?!x)$", "\\p{L}", "a{2,1}", "(?<n>a)\\k<n>", "*",
		"color: red", "color: red;", ": x", "color", "x:;", "red", "#fff", "#ffff", "#ffffff", "fff", "rgb(1,2,3)", "rgb(256,0,0)", "rgb(1%,2%,3%)", "rgb(100%,0%,0%)", "Red", "pink", "rgb( 1 , 2 , 3 )",
		"+1234567", "+123456", "+1 234 567 890", "1234567", "+12345678901234567",
	}
)

func quote(s string) string { return fmt.Sprintf("%q", s) }

// combined is how many schemas are made of others.
const combined = 1500

// corpus returns the same examples each time.
func corpus() (all []example) {
	for _, schema := range keywords {
		for _, value := range values {
			all = append(all, example{schema, value})
		}
	}
	for _, format := range formats {
		for _, text := range texts {
			all = append(all, example{`{"format":"` + format + `"}`, quote(text)})
		}
	}
	m := maker{rand.New(rand.NewPCG(1, 2))} //nolint:gosec // it has to be the same each time
	for range combined {
		all = append(all, example{m.schema(3), m.value(3)})
	}
	return all
}

// maker makes schemas and values.
type maker struct{ *rand.Rand }

func pick(m maker, from ...string) string { return from[m.IntN(len(from))] }

func (m maker) name() string { return pick(m, "a", "b", "c", "name", "a.b", "0", "x y") }

func (m maker) value(depth int) string {
	switch n := m.IntN(10); {
	case n < 2 || depth == 0:
		return pick(m, `null`, `true`, `false`, `""`, `"a"`, `"abc"`, `"x"`)
	case n < 4:
		return pick(m, `0`, `1`, `2.5`, `-3`, `100`)
	case n < 6:
		items := make([]string, m.IntN(4))
		for i := range items {
			items[i] = m.value(depth - 1)
		}
		return "[" + strings.Join(items, ",") + "]"
	default:
		return m.object(m.IntN(5), func() string { return m.value(depth - 1) })
	}
}

// object has up to n members.
func (m maker) object(n int, value func() string) string {
	var members []string
	seen := map[string]bool{}
	for range n {
		if name := m.name(); !seen[name] {
			seen[name] = true
			members = append(members, quote(name)+":"+value())
		}
	}
	return "{" + strings.Join(members, ",") + "}"
}

func (m maker) list(value func() string) string {
	items := make([]string, 1+m.IntN(3))
	for i := range items {
		items[i] = value()
	}
	return "[" + strings.Join(items, ",") + "]"
}

func (m maker) schema(depth int) string {
	sub := func() string { return m.schema(depth - 1) }
	simple := []func() string{
		func() string {
			return `"type":` + pick(m, `"string"`, `"number"`, `"object"`, `"array"`, `["string","null"]`, `"boolean"`, `"integer"`)
		},
		func() string { return `"enum":[` + m.value(0) + `,` + m.value(1) + `]` },
		func() string { return `"const":` + m.value(1) },
		func() string { return `"minLength":2` },
		func() string { return `"maxLength":` + pick(m, `0`, `1`, `2`) },
		func() string { return `"minimum":1` },
		func() string { return `"maximum":2` },
		func() string { return `"pattern":` + pick(m, `"^a"`, `"b$"`, `"^[^x]*$"`) },
		func() string { return `"required":["` + m.name() + `","` + m.name() + `"]` },
		func() string { return `"minItems":2` },
		func() string { return `"uniqueItems":true` },
		func() string { return `"maxProperties":1` },
		func() string { return `"title":"T"` },
		func() string { return `"additionalProperties":false` },
	}
	nested := []func() string{
		func() string { return `"properties":` + m.object(1+m.IntN(3), sub) },
		func() string { return `"properties":` + m.object(1+m.IntN(3), sub) },
		func() string { return `"additionalProperties":` + sub() },
		func() string { return `"patternProperties":{"^[ab]":` + sub() + `}` },
		func() string { return `"propertyNames":` + sub() },
		func() string { return `"items":` + sub() },
		func() string { return `"items":` + m.list(sub) },
		func() string { return `"contains":` + sub() },
		func() string { return `"anyOf":` + m.list(sub) },
		func() string { return `"oneOf":` + m.list(sub) },
		func() string { return `"allOf":` + m.list(sub) },
		func() string { return `"not":` + sub() },
		func() string { return `"if":` + sub() + `,"then":` + sub() },
		func() string { return `"if":` + sub() + `,"else":` + sub() },
		func() string { return `"dependencies":{"` + m.name() + `":` + sub() + `}` },
		func() string { return `"dependencies":{"` + m.name() + `":["` + m.name() + `"]}` },
	}
	var members []string
	seen := map[string]bool{}
	for range 1 + m.IntN(3) {
		from := simple
		if depth > 0 && m.IntN(2) == 0 {
			from = nested
		}
		member := from[m.IntN(len(from))]()
		if keyword, _, _ := strings.Cut(member, ":"); !seen[keyword] {
			seen[keyword] = true
			members = append(members, member)
		}
	}
	return "{" + strings.Join(members, ",") + "}"
}
