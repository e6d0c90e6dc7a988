package fakegitlab

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// repository adds the endpoints about branches, files and commits, which work
// on the git repositories.
func (s *Server) repository(mux *http.ServeMux) {
	show := func(p *Project, name string) map[string]any {
		head := s.Git.Head(p.FullPath, name)
		return map[string]any{
			"name": name, "web_url": p.WebURL + "/-/tree/" + name, "commit": s.showCommit(p, head),
		}
	}
	s.inProject(mux, "GET", "/repository/branches/{branch}", "", func(r *request, p *Project) answer {
		if s.Git.Head(p.FullPath, r.PathValue("branch")) == "" {
			return notFound("Branch")
		}
		return ok(show(p, r.PathValue("branch")))
	})
	s.inProject(mux, "POST", "/repository/branches", "branch! ref!", func(r *request, p *Project) answer {
		name, from := r.text("branch"), r.text("ref")
		if s.Git.Head(p.FullPath, name) != "" {
			return refuse(400, "Branch already exists")
		}
		if _, err := s.Git.TryGit(p.FullPath, "", "branch", name, from); err != nil {
			return refuse(400, "Invalid reference name: "+from)
		}
		return created(show(p, name))
	})
	s.inProject(mux, "GET", "/repository/tree", "ref recursive path", s.tree)
	s.inProject(mux, "GET", "/repository/commits", "ref_name", func(r *request, p *Project) answer {
		out, err := s.Git.TryGit(p.FullPath, "", "rev-list", r.text("ref_name"), "--")
		if err != nil {
			return notFound("Commit")
		}
		commits := []map[string]any{}
		for _, hash := range strings.Fields(out) {
			commits = append(commits, s.showCommit(p, hash))
		}
		return pages(commits)
	})
	s.inProject(mux, "POST", "/repository/commits", "branch! commit_message! actions! start_branch allow_empty", s.commit)
}

func (s *Server) showCommit(p *Project, hash string) map[string]any {
	message := s.Git.Git(p.FullPath, "log", "-1", "--format=%B", hash)
	title, _, _ := strings.Cut(message, "\n")
	return map[string]any{"id": hash, "title": title, "message": message}
}

func (s *Server) tree(r *request, p *Project) answer {
	ref, folder := r.text("ref"), r.text("path")
	args := []string{"ls-tree", "-r", "-t", ref}
	if folder != "" {
		args = append(args, "--", folder+"/")
	}
	out, err := s.Git.TryGit(p.FullPath, "", args...)
	if err != nil {
		return notFound("Tree")
	}
	if out == "" && folder != "" {
		return notFound("invalid revision or path")
	}
	entries := []map[string]any{}
	for line := range strings.Lines(out) {
		meta, path, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if f := strings.Fields(meta); len(f) == 3 && path != folder {
			entries = append(entries, map[string]any{"id": f[2], "name": path[strings.LastIndexByte(path, '/')+1:], "type": f[1], "path": path, "mode": f[0]})
		}
	}
	return pages(entries)
}

// commit makes a commit of actions, by git fast-import.
func (s *Server) commit(r *request, p *Project) answer {
	branch, start, message := r.text("branch"), r.text("start_branch"), r.text("commit_message")
	head := s.Git.Head(p.FullPath, branch)
	from := head
	if start != "" {
		if head != "" && start != branch {
			return refuse(400, "A branch called '"+branch+"' already exists. Switch to that branch in order to make changes")
		}
		if from = s.Git.Head(p.FullPath, start); from == "" {
			return refuse(400, "You can only create or edit files when you are on a branch")
		}
	} else if head == "" && len(s.Git.Branches(p.FullPath)) > 0 {
		return refuse(400, "You can only create or edit files when you are on a branch")
	}
	var script strings.Builder
	fmt.Fprintf(&script, "commit refs/heads/%s\ncommitter Fake <fake@example.com> %d +0000\ndata %d\n%s\n", branch, 1700000000+s.id(), len(message), message)
	present := map[string]string{}
	if from != "" {
		script.WriteString("from " + from + "\n")
		for line := range strings.Lines(s.Git.Git(p.FullPath, "ls-tree", "-r", from)) {
			meta, path, _ := strings.Cut(strings.TrimSpace(line), "\t")
			present[path], _, _ = strings.Cut(meta, " ")
		}
	}
	list, _ := r.in["actions"].([]any)
	if len(list) == 0 && !r.flag("allow_empty") {
		return refuse(400, "Provide at least one action")
	}
	for i, item := range list {
		if problem := s.action(&script, present, i, item); problem != "" {
			return refuse(400, problem)
		}
	}
	if _, err := s.Git.TryGit(p.FullPath, script.String(), "fast-import", "--quiet"); err != nil {
		s.t.Errorf("commit to %s: %v", p.FullPath, err)
	}
	return created(s.showCommit(p, s.Git.Head(p.FullPath, branch)))
}

func (s *Server) action(script *strings.Builder, present map[string]string, i int, item any) (problem string) {
	a, _ := item.(map[string]any)
	for name := range a {
		if !slices.Contains([]string{"action", "file_path", "encoding", "content", "execute_filemode"}, name) {
			s.t.Errorf("an action has %s", name)
		}
	}
	path, _ := a["file_path"].(string)
	mode, exists := present[path]
	content, hasContent := a["content"].(string)
	text, err := base64.StdEncoding.DecodeString(content)
	switch kind := a["action"]; {
	case path == "":
		return "actions[" + strconv.Itoa(i) + "][file_path] is missing"
	case kind == "create" && exists:
		return "A file with this name already exists"
	case kind != "create" && kind != "update" && kind != "delete":
		return "actions[" + strconv.Itoa(i) + "][action] does not have a valid value"
	case kind != "create" && !exists:
		return "A file with this name doesn't exist"
	case kind == "delete":
		script.WriteString("D " + path + "\n")
		return ""
	case !hasContent || a["encoding"] != "base64" || err != nil:
		return "actions[" + strconv.Itoa(i) + "][content] is missing"
	}
	if executable, ok := a["execute_filemode"].(bool); ok || !exists {
		mode = "100644"
		if executable {
			mode = "100755"
		}
	}
	fmt.Fprintf(script, "M %s inline %s\ndata %d\n%s\n", mode, path, len(text), text)
	return ""
}
