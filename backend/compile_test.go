package backend_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestMistakesThatDoNotCompile builds the programs in testdata/compile. Each
// breaks one rule of the architecture and says in its comment what the
// compiler answers; the program "valid" breaks none.
func TestMistakesThatDoNotCompile(t *testing.T) {
	t.Parallel()
	dirs, err := filepath.Glob("testdata/compile/*")
	if err != nil || len(dirs) < 2 {
		t.Fatalf("%d programs, %v", len(dirs), err)
	}
	args := []string{"build"}
	for _, dir := range dirs {
		args = append(args, "./"+filepath.ToSlash(dir))
	}
	out, err := exec.Command("go", args...).CombinedOutput()
	if err == nil {
		t.Fatal("all programs compile")
	}
	answers := map[string]string{} // by directory
	for line := range strings.Lines(string(out)) {
		line = filepath.ToSlash(line)
		for _, dir := range dirs {
			if strings.Contains(line, filepath.ToSlash(dir)+"/main.go:") {
				answers[dir] += line
			}
		}
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			t.Parallel()
			source, err := os.ReadFile(filepath.Join(dir, "main.go"))
			if err != nil {
				t.Fatal(err)
			}
			answer := answers[dir]
			_, rest, wanted := strings.Cut(string(source), "// want: ")
			want, _, _ := strings.Cut(rest, "\n")
			switch {
			case !wanted && answer != "":
				t.Errorf("the program should compile, but:\n%s", answer)
			case wanted && answer == "":
				t.Errorf("the program compiles, but should not; all output:\n%s", out)
			case !strings.Contains(answer, want):
				t.Errorf("the compiler says\n%swant\n%s", answer, want)
			case strings.Count(answer, "\n") > 1:
				t.Errorf("the program has more than one mistake:\n%s", answer)
			}
		})
	}
}
