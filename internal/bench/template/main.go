// Command template compares engines for templates of the scaffolder: the one
// of this repository, that of the reference in Node, and gonja, a Jinja for
// Go. It is a module of its own, so that Flytower does not depend on gonja.
//
//	cd internal/bench/template && go run . -modules DIR -node node
//
// DIR is a folder node_modules that has the reference's package nunjitsu; Node
// has to be version 22 or later. Without -modules, Node is left out.
//
// What is measured is CPU time to read and render a text once, as fetching a
// template does with each file: of files such as templates have, and of those
// texts of the golden file that all engines render alike.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	_ "embed"

	"github.com/nikolalohinski/gonja/v2"
	gonjaexec "github.com/nikolalohinski/gonja/v2/exec"

	"github.com/flytower/flytower/plugins/scaffolder-node/template"
)

func main() {
	modules := flag.String("modules", "", "folder node_modules with the package nunjitsu")
	node := flag.String("node", "node", "Node, 22 or later")
	golden := flag.String("golden", "../../../plugins/scaffolder-node/template/testdata/reference.json", "the golden file")
	budget := flag.Duration("cpu", time.Second, "CPU time of each measurement")
	flag.Parse()
	if err := run(*modules, *node, *golden, *budget); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// set is a group of texts with the variables that they see.
type set struct {
	Name      string          `json:"name"`
	Texts     []string        `json:"texts"`
	Variables json.RawMessage `json:"variables"`
}

// engine renders texts. A text that it cannot render has the result nil.
type engine struct {
	name    string
	render  func(s set) ([]*string, error)
	measure func(s set, budget time.Duration) (perRound time.Duration, err error)
}

func run(modules, node, golden string, budget time.Duration) error {
	corpus, want, err := readGolden(golden)
	if err != nil {
		return err
	}
	engines := []engine{local("flytower", flytower), local("gonja", gonjaRender)}
	if modules != "" {
		engines = append(engines, reference(node, modules))
	}
	agreed := make([]bool, len(want))
	for i := range agreed {
		agreed[i] = true
	}
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(out, "engine\tgolden texts as the reference\n")
	for _, e := range engines {
		got, err := e.render(corpus)
		if err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
		same := 0
		for i, text := range got {
			if text != nil && *text == want[i] {
				same++
			} else {
				agreed[i] = false
			}
		}
		fmt.Fprintf(out, "%s\t%d of %d\n", e.name, same, len(want))
	}
	common := set{Name: "golden texts that all render", Variables: corpus.Variables}
	for i, text := range corpus.Texts {
		if agreed[i] {
			common.Texts = append(common.Texts, text)
		}
	}
	fmt.Fprintf(out, "\nCPU time of a round\t")
	for _, e := range engines {
		fmt.Fprintf(out, "%s\tto flytower\t", e.name)
	}
	fmt.Fprintln(out)
	for _, s := range append(files(), common) {
		fmt.Fprintf(out, "%s (%d)\t", s.Name, len(s.Texts))
		var own time.Duration
		for i, e := range engines {
			took, err := e.measure(s, budget)
			if err != nil {
				return fmt.Errorf("%s: %s: %w", e.name, s.Name, err)
			}
			if i == 0 {
				own = took
			}
			fmt.Fprintf(out, "%s\t%.1f\t", took.Round(100*time.Nanosecond), float64(took)/float64(own))
		}
		fmt.Fprintln(out)
	}
	return out.Flush()
}

// readGolden returns the texts of the golden file that render to texts, and
// what the reference made of them.
func readGolden(name string) (s set, want []string, err error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return s, nil, err
	}
	var file struct {
		Variables json.RawMessage
		Cases     []struct {
			Mode, Template string
			Syntax         template.Syntax
			Want           json.RawMessage
			Error          any
		}
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return s, nil, err
	}
	s = set{Name: "golden", Variables: file.Variables}
	for _, c := range file.Cases {
		var text string
		if c.Error != nil || c.Mode == "value" || c.Syntax != (template.Syntax{}) || json.Unmarshal(c.Want, &text) != nil {
			continue
		}
		s.Texts, want = append(s.Texts, c.Template), append(want, text)
	}
	return s, want, nil
}

// files are such as templates have, in what the engines have in common.
func files() []set {
	variables := json.RawMessage(`{"values":{"name":"shop-api","owner":"team-a","port":8080,"public":true,"hosts":["a.example.com","b.example.com","c.example.com"],"env":[{"name":"LEVEL","value":"info"},{"name":"REGION","value":"eu"}]}}`)
	code := strings.Repeat("func handle(w http.ResponseWriter, r *http.Request) {\n\tfmt.Fprintln(w, \"${{ values.name }}\")\n}\n\n", 40)
	manifest := `apiVersion: apps/v1
kind: Deployment
metadata: {name: "${{ values.name }}", labels: {owner: "${{ values.owner | upper }}"}}
spec:
  template:
    spec:
      containers:
        - name: ${{ values.name | replace("-", "_") }}
          ports: [{containerPort: ${{ values.port }}}]
          env:
{%- for e in values.env %}
            - {name: ${{ e.name }}, value: "${{ e.value | default("none") }}"}
{%- endfor %}
{% if values.public %}# public: ${{ values.hosts | join(", ") }}
{% endif %}`
	readme := "# ${{ values.name | title }}\n\nOwned by ${{ values.owner }}.\n" + strings.Repeat("\nText without anything in it, as most lines of files are.", 60) + "\n"
	return []set{
		{"source file", []string{code}, variables},
		{"manifest", []string{manifest}, variables},
		{"mostly text", []string{readme}, variables},
		{"plain names", []string{"src/${{ values.name }}/main.go", "README.md", "charts/${{ values.name }}.yaml"}, variables},
	}
}

// renderer renders one text with variables that were prepared.
type renderer func(text string) (string, error)

// local is an engine in this process.
func local(name string, prepare func(variables json.RawMessage) (renderer, error)) engine {
	return engine{
		name: name,
		render: func(s set) ([]*string, error) {
			render, err := prepare(s.Variables)
			if err != nil {
				return nil, err
			}
			out := make([]*string, len(s.Texts))
			for i, text := range s.Texts {
				if got, err := safely(render, text); err == nil {
					out[i] = &got
				}
			}
			return out, nil
		},
		measure: func(s set, budget time.Duration) (time.Duration, error) {
			render, err := prepare(s.Variables)
			if err != nil {
				return 0, err
			}
			rounds, start := 0, cpu()
			for {
				for _, text := range s.Texts {
					if _, err := render(text); err != nil {
						return 0, err
					}
				}
				rounds++
				if used := cpu() - start; used > budget {
					return used / time.Duration(rounds), nil
				}
			}
		},
	}
}

// safely makes a panic of an engine an error.
func safely(render renderer, text string) (got string, err error) {
	defer func() {
		if problem := recover(); problem != nil {
			err = fmt.Errorf("panic: %v", problem)
		}
	}()
	return render(text)
}

// cpu is the time that this process has computed, its garbage collection
// included.
func cpu() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func flytower(raw json.RawMessage) (renderer, error) {
	variables, err := template.RecordOf(raw)
	if err != nil {
		return nil, err
	}
	env, err := template.NewEnvironment(template.Options{})
	return func(text string) (string, error) {
		t, err := template.Parse("", text, template.Syntax{})
		if err != nil {
			return "", err
		}
		return env.Render(context.Background(), t, variables)
	}, err
}

func gonjaRender(raw json.RawMessage) (renderer, error) {
	var variables map[string]any
	if err := json.Unmarshal(raw, &variables); err != nil {
		return nil, err
	}
	data := gonjaexec.NewContext(variables)
	return func(text string) (string, error) {
		t, err := gonja.FromString(strings.ReplaceAll(text, "${{", "{{"))
		if err != nil {
			return "", err
		}
		return t.ExecuteToString(data)
	}, nil
}

//go:embed reference.cjs
var script string

// reference is the engine of the reference, in Node.
func reference(node, modules string) engine {
	ask := func(s set, budget time.Duration, answer any) error {
		in, err := json.Marshal(map[string]any{"set": s, "modules": modules, "milliseconds": budget.Milliseconds()})
		if err != nil {
			return err
		}
		cmd := exec.Command(node, "-e", script)
		cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return err
		}
		return json.Unmarshal(out, answer)
	}
	return engine{
		name: "reference (Node)",
		render: func(s set) (out []*string, err error) {
			return out, ask(s, 0, &out)
		},
		measure: func(s set, budget time.Duration) (time.Duration, error) {
			var nanoseconds float64
			err := ask(s, budget, &nanoseconds)
			return time.Duration(nanoseconds), err
		},
	}
}
