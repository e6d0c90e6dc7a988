// Package template is the language of the scaffolder's templates: text with
// ${{ expressions }}, {% statements %} and {# comments #}, a descendant of
// Nunjucks whose values are those of JavaScript.
//
//	env, err := template.NewEnvironment(template.Options{})
//	…
//	t, err := template.Parse("README.md", "# ${{ values.name | title }}", template.Syntax{})
//	…
//	variables, err := template.RecordOf(map[string]any{"values": map[string]any{"name": "shop"}})
//	…
//	text, err := env.Render(ctx, t, variables) // "# Shop"
//
// [Parse] makes a [Template], which does not change and may be shared and kept,
// in a [Cache] for example. An [Environment] renders it: [Environment.Render]
// to text, [Environment.Eval] to a [Value], so that "${{ parameters.port }}"
// stays a number; [Expander] does the latter for all texts within a value.
// Filters and functions of the host are part of the environment.
//
// Templates come from people who are not trusted. They cannot read or write
// anything but the variables they are given, there is nothing in a value that
// leads out of it, and what they use has [Limits]; a deadline is the context's.
// Errors are an [*Error], which has the place and often a remedy, or a
// [*LimitError].
//
// # Values
//
// Truth, comparison, arithmetic and text follow JavaScript: 1 == "1", [] is
// true, 0.1 + 0.2 is 0.30000000000000004, and a list within text is its items
// with commas. Texts are counted in UTF-16 code units. Records keep their order.
// Only entries that a value itself has can be read, apart from a fixed list of
// methods such as toLowerCase and push; names such as constructor are refused.
// Methods that change a list change the render's own copy of it.
//
// # Compatibility
//
// The package follows the engine of Backstage's scaffolder (nunjitsu, a subset
// of Nunjucks 3.2): testdata/reference.json has 480 of its answers. On purpose
// it differs in three things: there are limits of time, memory and regular
// expressions; variables may have the keys constructor, prototype and
// __proto__, though templates cannot name them; and JavaScript's Map and Set,
// which no JSON contains, do not exist.
package template
