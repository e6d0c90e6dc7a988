package migrate

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSplit(t *testing.T) {
	t.Parallel()
	trigger := "CREATE TEMP TRIGGER a AFTER UPDATE ON t BEGIN\n UPDATE t SET x = CASE WHEN y THEN 1 ELSE 2 END;\n DELETE FROM u;\nEND"
	for name, test := range map[string]struct {
		text string
		want []statement
	}{
		"empty":           {text: " \n-- nothing\n/* at all */;;"},
		"two":             {text: "A 1;\n\nB 2;\n", want: []statement{{"A 1", 1}, {"B 2", 3}}},
		"last unended":    {text: "A 1;\nB 2\n ", want: []statement{{"A 1", 1}, {"B 2", 2}}},
		"comment first":   {text: "-- it's; this\nA 1;", want: []statement{{"A 1", 2}}},
		"quotes":          {text: `A ';' ";" 'it''s;';B`, want: []statement{{`A ';' ";" 'it''s;'`, 1}, {"B", 1}}},
		"backslash":       {text: `A '\';B E'\';';C`, want: []statement{{`A '\'`, 1}, {`B E'\';'`, 1}, {"C", 1}}},
		"dollars":         {text: "A $$;$$; B $x$;$y$;$x$; C $1;", want: []statement{{"A $$;$$", 1}, {"B $x$;$y$;$x$", 1}, {"C $1", 1}}},
		"nested comment":  {text: "A /* ; /* ; */ ; */ 1; B", want: []statement{{"A /* ; /* ; */ ; */ 1", 1}, {"B", 1}}},
		"sqlite trigger":  {text: trigger + ";\nB;", want: []statement{{trigger, 1}, {"B", 5}}},
		"postgres":        {text: "CREATE TRIGGER a BEFORE UPDATE ON t EXECUTE FUNCTION f(); B;", want: []statement{{"CREATE TRIGGER a BEFORE UPDATE ON t EXECUTE FUNCTION f()", 1}, {"B", 1}}},
		"umlauts in name": {text: `CREATE TABLE größe (a int); B`, want: []statement{{"CREATE TABLE größe (a int)", 1}, {"B", 1}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := split(test.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(statement{})); diff != "" {
				t.Error(diff)
			}
		})
	}
	for text, want := range map[string]string{
		"A;\nB 'x":     "line 2: this quote has no end",
		"A; /* /* */":  "line 1: this comment has no end",
		"A;\n\n $x$ $": "line 3: this dollar quote has no end",
	} {
		if _, err := split(text); err == nil || err.Error() != want {
			t.Errorf("split(%q) = %v, want %s", text, err, want)
		}
	}
}

// Whatever is cut contains all words, in order.
func FuzzSplit(f *testing.F) {
	for _, s := range []string{"A;B", "CREATE TRIGGER x BEGIN a; END; b", "'", "$$;$$", "E'\\''", "/*/**/", "--"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		statements, err := split(text)
		if err != nil {
			return
		}
		rest := text
		for _, s := range statements {
			_, after, found := strings.Cut(rest, s.text)
			if !found || s.text == "" {
				t.Fatalf("statement %q is not in order in %q", s.text, text)
			}
			if s.line < 1 || s.line > 1+strings.Count(text, "\n") {
				t.Fatalf("line %d of %q", s.line, text)
			}
			rest = after
		}
	})
}
