package template

import (
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/flytower/flytower/internal/utf16text"
)

// filterCall is a built-in filter at work.
type filterCall struct {
	*evaluator
	input Value
	args  []Value
}

func (c *filterCall) arg(i int) Value { return arg(c.args, i) }

// filterSpec is a built-in filter.
type filterSpec struct {
	// params are the names that keyword arguments may have; without them,
	// keyword arguments arrive as a record after the others
	params []string
	run    func(c *filterCall) Value
}

// lower turns keyword arguments into positional ones.
func (f filterSpec) lower(args argumentValues) []Value {
	if f.params == nil {
		if len(args.keywords) == 0 {
			return args.positional
		}
		r := &Record{}
		for _, k := range args.keywords {
			r.Set(k.name, k.value)
		}
		r.Set("__keywords", Bool(true))
		return append(args.positional, r)
	}
	positional := args.positional[:min(len(args.positional), len(f.params))]
	for i := len(positional); i < len(f.params); i++ {
		v, _ := args.keyword(f.params[i])
		positional = append(positional, v)
	}
	return positional
}

var filters = map[string]filterSpec{
	"abs":         {run: func(c *filterCall) Value { return Number(math.Abs(c.toNumber(c.input))) }},
	"batch":       {run: batchFilter},
	"capitalize":  {run: textFilter(func(s string) string { return capitalize(toLower(s)) })},
	"center":      {run: centerFilter},
	"d":           {run: defaultFilter},
	"default":     {run: defaultFilter},
	"dictsort":    {run: dictsortFilter},
	"dump":        {run: dumpFilter},
	"e":           {run: escapeFilter},
	"escape":      {run: escapeFilter},
	"first":       {run: func(c *filterCall) Value { return c.edge("first") }},
	"float":       {run: floatFilter},
	"forceescape": {run: func(c *filterCall) Value { return SafeString(htmlEscapes.Replace(c.display(c.input))) }},
	"groupby":     {run: groupbyFilter},
	"indent":      {run: indentFilter},
	"int":         {params: []string{"default", "base"}, run: intFilter},
	"join":        {run: joinFilter},
	"last":        {run: func(c *filterCall) Value { return c.edge("last") }},
	"length":      {run: lengthFilter},
	"list":        {run: listFilter},
	"lower":       {run: caseFilter(toLower)},
	"nl2br":       {run: nl2brFilter},
	"random":      {run: randomFilter},
	"reject":      {run: func(c *filterCall) Value { return c.selected("reject") }},
	"rejectattr":  {run: func(c *filterCall) Value { return c.selectedByAttribute("rejectattr") }},
	"replace":     {run: replaceFilter},
	"reverse":     {run: reverseFilter},
	"round":       {run: roundFilter},
	"safe":        {run: safeFilter},
	"select":      {run: func(c *filterCall) Value { return c.selected("select") }},
	"selectattr":  {run: func(c *filterCall) Value { return c.selectedByAttribute("selectattr") }},
	"slice":       {run: sliceFilter},
	"sort":        {params: []string{"reverse", "case_sensitive", "attribute"}, run: sortFilter},
	"string":      {run: stringFilter},
	"striptags":   {run: striptagsFilter},
	"sum":         {run: sumFilter},
	"title":       {run: textFilter(title)},
	"trim":        {run: trimFilter},
	"truncate":    {run: truncateFilter},
	"upper":       {run: caseFilter(toUpper)},
	"urlencode":   {run: urlencodeFilter},
	"urlize":      {run: urlizeFilter},
	"wordcount":   {run: wordcountFilter},
}

func filterNames() []string { return slices.Sorted(maps.Keys(filters)) }

// text returns the input as text; absent input, and false, are the empty text.
func (c *filterCall) text() (string, bool) {
	switch v := c.input.(type) {
	case Undefined, Null:
		return "", true
	case Bool:
		if !v {
			return "", true
		}
	}
	return c.exactText()
}

// exactText returns the input, which has to be a text.
func (c *filterCall) exactText() (string, bool) {
	s, ok := asText(c.input)
	if !ok {
		c.fail("Filter input must be a string")
	}
	return s, ok
}

// like returns a text that is as safe as the input.
func (c *filterCall) like(s string) Value {
	if isSafe(c.input) {
		return SafeString(s)
	}
	return String(s)
}

// textFilter changes a text and leaves it as safe as it was.
func textFilter(change func(string) string) func(*filterCall) Value {
	return func(c *filterCall) Value {
		s, ok := c.text()
		if !ok {
			return Undefined{}
		}
		return c.like(change(s))
	}
}

// caseFilter changes a text, which is then an ordinary one.
func caseFilter(change func(string) string) func(*filterCall) Value {
	return func(c *filterCall) Value {
		s, ok := c.text()
		if !ok {
			return Undefined{}
		}
		return String(change(s))
	}
}

func title(s string) string {
	words := strings.Split(s, " ")
	for i, w := range words {
		words[i] = capitalize(toLower(w))
	}
	return strings.Join(words, " ")
}

func defaultFilter(c *filterCall) Value {
	if truthy(c.arg(1)) && !truthy(c.input) || isUndefined(c.input) {
		return c.arg(0)
	}
	return c.input
}

func escapeFilter(c *filterCall) Value {
	if isSafe(c.input) {
		return c.input
	}
	return SafeString(htmlEscapes.Replace(c.display(c.input)))
}

func safeFilter(c *filterCall) Value {
	if isSafe(c.input) {
		return c.input
	}
	return SafeString(c.display(c.input))
}

func stringFilter(c *filterCall) Value {
	if isNothing(c.input) {
		return c.fail("string requires a value")
	}
	if isSafe(c.input) {
		return c.input
	}
	return String(c.display(c.input))
}

func floatFilter(c *filterCall) Value {
	f := parseFloat(c.toText(c.input))
	if math.IsNaN(f) {
		return c.arg(0)
	}
	return Number(f)
}

func intFilter(c *filterCall) Value {
	base := 10.0
	if v := c.arg(1); !isUndefined(v) {
		base = c.toNumber(v)
	}
	n := parseInt(c.toText(c.input), base)
	if math.IsNaN(n) {
		return c.arg(0)
	}
	return Number(n)
}

func roundFilter(c *filterCall) Value {
	precision := 0.0
	if v := c.arg(0); truthy(v) {
		precision = c.toNumber(v)
	}
	factor := power(10, precision)
	n := c.toNumber(c.input) * factor
	switch c.arg(1) {
	case String("ceil"):
		n = math.Ceil(n)
	case String("floor"):
		n = math.Floor(n)
	default:
		n = round(n)
	}
	return Number(n / factor)
}

// ownLength is the length of what has one, as the filters center and truncate
// look at it.
func (c *filterCall) ownLength(v Value) Value {
	switch v := v.(type) {
	case *Record:
		length, _ := v.Get("length")
		return length
	case *Array, String, SafeString:
		length, _ := c.own(v, "length")
		return length
	}
	return Undefined{}
}

// normalized is the input, or the empty text if there is none.
func (c *filterCall) normalized() Value {
	if isNothing(c.input) || c.input == Bool(false) {
		return String("")
	}
	return c.input
}

func centerFilter(c *filterCall) Value {
	input := c.normalized()
	var width Value = Number(80)
	if truthy(c.arg(0)) {
		width = c.arg(0)
	}
	length := c.ownLength(input)
	if c.order(length, width) >= 0 {
		return input
	}
	room := c.toNumber(width) - c.toNumber(length)
	text := c.toText(input)
	padded := c.spaces(room/2-math.Mod(room, 2)) + text + c.spaces(room/2)
	if isSafe(input) {
		return SafeString(padded)
	}
	return String(padded)
}

// spaces returns as many spaces as fill a width.
func (c *filterCall) spaces(width float64) string {
	if !(width > 0) {
		return ""
	}
	width = math.Ceil(width)
	if width > float64(c.limits.OutputBytes) {
		c.fail("Filter spacing exceeds the supported bound")
		return ""
	}
	if !c.evaluator.text(int(width)) {
		return ""
	}
	return strings.Repeat(" ", int(width))
}

func indentFilter(c *filterCall) Value {
	input := c.normalized()
	text, ok := asText(input)
	if !ok {
		return c.fail("Filter input must be a string")
	}
	if input == String("") {
		return input
	}
	width := 4.0
	if v := c.arg(0); truthy(v) {
		width = c.toNumber(v)
	}
	indentation := c.spaces(width)
	lines := strings.Count(text, "\n") + 1
	if !c.evaluator.text(lines*len(indentation) + len(text)) {
		return Undefined{}
	}
	text = strings.ReplaceAll(text, "\n", "\n"+indentation)
	if truthy(c.arg(1)) {
		text = indentation + text
	}
	return c.like(text)
}

func nl2brFilter(c *filterCall) Value {
	if isNothing(c.input) {
		return String("")
	}
	text, ok := c.exactText()
	if !ok || !c.evaluator.text(strings.Count(text, "\n")*len("<br />")) {
		return Undefined{}
	}
	return c.like(strings.NewReplacer("\r\n", "<br />\n", "\n", "<br />\n").Replace(text))
}

func trimFilter(c *filterCall) Value {
	text, ok := c.exactText()
	if !ok {
		return Undefined{}
	}
	return c.like(trimSpace(text))
}

func truncateFilter(c *filterCall) Value {
	input := c.normalized()
	var limit Value = Number(255)
	if truthy(c.arg(0)) {
		limit = c.arg(0)
	}
	if c.order(c.ownLength(input), limit) <= 0 {
		return input
	}
	text, ok := asText(input)
	if !ok {
		return c.fail("Filter input must be a string")
	}
	length, wanted := utf16text.Len(text), c.toNumber(limit)
	cut := clamp(zeroIfNaN(wanted), length)
	if !truthy(c.arg(1)) {
		before := cut
		if math.IsNaN(wanted) {
			before = length
		}
		if space := utf16text.LastIndex(text, " ", before); space >= 0 {
			cut = space
		}
	}
	end := "..."
	if v := c.arg(2); !isNothing(v) {
		end = c.toText(v)
	}
	return c.like(utf16text.Slice(text, 0, cut) + end)
}

func lengthFilter(c *filterCall) Value {
	switch v := c.input.(type) {
	case *Array:
		return Number(len(c.items(v)))
	case *Record:
		return Number(v.Len())
	case String:
		return Number(utf16text.Len(string(v)))
	case SafeString:
		return Number(utf16text.Len(string(v)))
	case Undefined, Null:
		return Number(0)
	case Bool:
		if !v {
			return Number(0)
		}
	}
	return Undefined{}
}

func replaceFilter(c *filterCall) Value {
	search, replacement := c.arg(0), c.arg(1)
	if r, ok := search.(*Regexp); ok {
		text, ok := asText(c.input)
		if !ok {
			return c.fail("Regular-expression replacement requires a string")
		}
		replaced, err := r.re.Replace(text, c.toText(replacement), c.budget())
		c.regexpFailed(err)
		return String(replaced)
	}
	switch search.(type) {
	case String, Number:
	default:
		return c.input
	}
	input := c.input
	if n, ok := input.(Number); ok {
		input = String(c.toText(n))
	}
	text, ok := asText(input)
	if !ok {
		return c.input
	}
	result, changed := c.replaced(text, c.toText(search), replacement)
	if !changed {
		return input
	}
	return c.like(result)
}

// replaced replaces occurrences of a text: all of them, or as many as the third
// argument says.
func (c *filterCall) replaced(text, needle string, replacement Value) (result string, changed bool) {
	with := c.toText(replacement)
	if needle == "" {
		separator := with
		if isUndefined(replacement) {
			separator = ","
		}
		// the units are put into a list, which takes more memory than the text
		if !c.step(int64(len(text)/4)) || !c.evaluator.text((len(text)+2)*max(len(with), len(separator))) {
			return "", true
		}
		spaced := strings.Join(utf16text.Split(text), separator)
		return utf16text.Join(with + spaced + with), true
	}
	count := strings.Count(text, needle)
	times := -1
	if v := c.arg(2); !isUndefined(v) && v != Number(-1) {
		if v == Number(0) {
			return text, false
		}
		times = int(min(max(math.Ceil(zeroIfNaN(c.toNumber(v))), 0), float64(count)))
		count = times
	}
	if count == 0 && !strings.Contains(text, needle) {
		return text, false
	}
	if !c.evaluator.text(len(text) + count*len(with)) {
		return "", true
	}
	return utf16text.Join(strings.Replace(text, needle, with, times)), true
}

func zeroIfNaN(f float64) float64 {
	if math.IsNaN(f) {
		return 0
	}
	return f
}
