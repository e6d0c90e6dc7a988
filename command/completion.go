package command

import (
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
)

type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Run prints a script that completes commands and flags.
func (c *completionCommand) Run(a *App, k *kong.Kong) error {
	words := map[string][]string{}
	var collect func(n *kong.Node, path string)
	collect = func(n *kong.Node, path string) {
		for _, child := range n.Children {
			if child.Type != kong.CommandNode {
				continue
			}
			words[path] = append(words[path], child.Name)
			collect(child, strings.TrimSpace(path+" "+child.Name))
		}
		for _, group := range n.AllFlags(true) {
			for _, f := range group {
				words[path] = append(words[path], "--"+f.Name)
			}
		}
	}
	collect(k.Model.Node, "")
	script := map[string]func(string, map[string][]string) string{"bash": bashScript, "zsh": zshScript, "fish": fishScript}[c.Shell]
	_, err := fmt.Fprint(a.Stdout, script(a.Name, words))
	return err
}

// cases writes a shell case per path of commands.
func cases(words map[string][]string, format string) string {
	var b strings.Builder
	for _, path := range sortedKeys(words) {
		fmt.Fprintf(&b, format, path, strings.Join(words[path], " "))
	}
	return b.String()
}

func bashScript(name string, words map[string][]string) string {
	return fmt.Sprintf(`# Load it with: source <(%[1]s completion bash)
_%[1]s() {
  local path="" w
  for w in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$w" in -*) ;; *) path="${path:+$path }$w" ;; esac
  done
  local words
  case "$path" in
%[2]s    *) words="" ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}"))
  [ ${#COMPREPLY[@]} -gt 0 ] || COMPREPLY=($(compgen -f -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -F _%[1]s %[1]s
`, name, cases(words, "    %q) words=%q ;;\n"))
}

func zshScript(name string, words map[string][]string) string {
	return fmt.Sprintf(`#compdef %[1]s
# Load it with: source <(%[1]s completion zsh)
_%[1]s() {
  local commands=""
  for w in ${words[2,CURRENT-1]}; do
    case "$w" in -*) ;; *) commands="${commands:+$commands }$w" ;; esac
  done
  local -a candidates
  case "$commands" in
%[2]s    *) candidates=() ;;
  esac
  compadd -- $candidates || _files
}
compdef _%[1]s %[1]s
`, name, cases(words, "    %q) candidates=(%s) ;;\n"))
}

func fishScript(name string, words map[string][]string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Load it with: %s completion fish | source\n", name)
	for _, path := range sortedKeys(words) {
		condition := "__fish_use_subcommand"
		if path != "" {
			parts := strings.Fields(path)
			condition = "__fish_seen_subcommand_from " + parts[len(parts)-1]
		}
		for _, w := range words[path] {
			if flag, ok := strings.CutPrefix(w, "--"); ok {
				fmt.Fprintf(&b, "complete -c %s -n %q -l %s\n", name, condition, flag)
			} else {
				fmt.Fprintf(&b, "complete -c %s -f -n %q -a %s\n", name, condition, w)
			}
		}
	}
	return b.String()
}
