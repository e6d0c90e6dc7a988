package behind_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/plugins/catalog-backend/internal/behind"
)

func rowsOf(text string) (rows []behind.Row, err error) {
	err = behind.Each(text, func(r behind.Row) { rows = append(rows, r) })
	return rows, err
}

func TestRowsComeBack(t *testing.T) {
	t.Parallel()
	for text, rows := range map[string][]behind.Row{
		`[]`:                  nil,
		`[[1]]`:               {{Key: 1, Null: true}},
		`[[1,""]]`:            {{Key: 1}},
		`[[7,"api","API"]]`:   {{Key: 7, Value: "api", Original: "API"}},
		`[[7,"go",null,1]]`:   {{Key: 7, Value: "go", Item: true}},
		`[[7,null,null,1]]`:   {{Key: 7, Null: true, Item: true}},
		`[[7,"a\"\\\n","A"]]`: {{Key: 7, Value: "a\"\\\n", Original: "A"}},
		`[[1,"état"],[2,"x","X",1],[1234567890123]]`: {{Key: 1, Value: "état"}, {Key: 2, Value: "x", Original: "X", Item: true}, {Key: 1234567890123, Null: true}},
	} {
		if have := string(behind.Append(nil, rows)); have != text {
			t.Errorf("Append(%v) = %s, want %s", rows, have, text)
		}
		have, err := rowsOf(text)
		if diff := cmp.Diff(rows, have); diff != "" || err != nil {
			t.Errorf("rows of %s: %v (-want +have):\n%s", text, err, diff)
		}
	}
}

func TestMalformedTextsAreRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "[", "]", "[[]]", "[[1]", "[[1],]", "[[1]]x", "[[1 ]]", "[[x]]", `[[1,"]]`, `[[1,"\x"]]`, `[[1,2]]`, `[[1,"a","b",2]]`, `[[1,"a","b",1,1]]`, "[[99999999999999999999]]"} {
		if rows, err := rowsOf(text); err == nil {
			t.Errorf("%q is taken for %v", text, rows)
		}
	}
}

func FuzzEach(f *testing.F) {
	for _, text := range []string{`[]`, `[[1,"a","A",1],[2]]`, `[[1,"\u00e9\\"]]`, `[[1,"`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		rows, err := rowsOf(text)
		if err != nil {
			return
		}
		again, err := rowsOf(string(behind.Append(nil, rows)))
		if diff := cmp.Diff(normal(rows), normal(again)); diff != "" || err != nil {
			t.Errorf("%q: %v (-once +twice):\n%s", text, err, diff)
		}
	})
}

// normal drops what has no meaning, and what is not UTF-8.
func normal(rows []behind.Row) []behind.Row {
	for i, r := range rows {
		if r.Null {
			r.Value, r.Original = "", ""
		}
		r.Value, r.Original = string([]rune(r.Value)), string([]rune(r.Original))
		rows[i] = r
	}
	return rows
}
