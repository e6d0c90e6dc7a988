package template_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/flytower/flytower/plugins/scaffolder-node/template"
)

func Example() {
	env, err := template.NewEnvironment(template.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	t, err := template.Parse("README.md", "# ${{ values.name | title }}\n{% for t in values.tags %}- ${{ t }}\n{% endfor %}", template.Syntax{TrimBlocks: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	variables, err := template.RecordOf(map[string]any{"values": map[string]any{"name": "shop", "tags": []string{"go", "web"}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	text, err := env.Render(context.Background(), t, variables)
	fmt.Println(text, err)
	// Output:
	// # Shop
	// - go
	// - web
	//  <nil>
}

// A filter of one's own.
func ExampleOptions() {
	env, err := template.NewEnvironment(template.Options{
		Filters: map[string]template.FilterFunc{
			"initials": func(_ context.Context, input template.Value, _ ...template.Value) (template.Value, error) {
				var initials string
				for word := range strings.FieldsSeq(template.Text(input)) {
					initials += word[:1]
				}
				return template.String(initials), nil
			},
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	t, err := template.Parse("", "${{ 'John Doe' | initials | lower }}", template.Syntax{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(env.Render(context.Background(), t, nil))
	// Output: jd <nil>
}

// Expressions keep their type.
func ExampleEnvironment_Eval() {
	env, err := template.NewEnvironment(template.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	variables, err := template.RecordOf(map[string]any{"port": 8080})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, source := range []string{"${{ port + 1 }}", ":${{ port }}", "${{ missing }}"} {
		t, err := template.Parse("", source, template.Syntax{})
		if err != nil {
			fmt.Println(err)
			return
		}
		v, err := env.Eval(context.Background(), t, variables)
		fmt.Printf("%T %v %v\n", v, template.ToGo(v), err)
	}
	// Output:
	// template.Number 8081 <nil>
	// template.String :8080 <nil>
	// template.Undefined <nil> <nil>
}
