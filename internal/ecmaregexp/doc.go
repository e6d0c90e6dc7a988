// Package ecmaregexp matches the regular expressions of ECMAScript, as
// templates and JSON Schemas contain them, with a bound on the work.
//
//	re, err := ecmaregexp.Compile(`(\w+) (\w+)`, "g")
//	text, err := re.Replace("hello world", "$2 $1", ecmaregexp.NewBudget(1_000_000)) // "world hello"
//
// Most expressions mean the same to package regexp, which needs time linear in
// the text; they run there. The others (look-around, back references,
// repetitions of groups that are read afterwards, case folding beyond ASCII)
// run in a backtracking matcher that counts its steps: when the [Budget] is
// used up, matching ends with [ErrBudget]. So no expression, however it was
// made, can occupy a processor for longer than the budget allows.
//
// Expressions follow ECMA-262 with its annex B, with the flags g, i, m, s, u
// and y. Without u a text consists of UTF-16 code units, with u of characters.
package ecmaregexp
