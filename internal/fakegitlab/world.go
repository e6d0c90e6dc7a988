package fakegitlab

import (
	"slices"
	"strconv"
	"strings"
)

// world is what the server has.
type world struct {
	users      []*User
	groups     []*Group
	projects   []*Project
	migrations []*Migration
	epics      []Epic
}

// User is a user; the number of the namespace is that of the user plus 1000.
type User struct {
	ID          int64  `json:"id"`
	Username    string `json:"username"`
	Name        string `json:"name"`
	State       string `json:"state"`
	WebURL      string `json:"web_url"`
	Email       string `json:"email,omitempty"`
	CreatedAt   string `json:"created_at,omitempty"`
	PublicEmail string `json:"public_email"`
}

const userNamespace = 1000

// Group is a group.
type Group struct {
	ID          int64         `json:"id"`
	Name        string        `json:"name"`
	Path        string        `json:"path"`
	FullPath    string        `json:"full_path"`
	ParentID    *int64        `json:"parent_id"`
	Description string        `json:"description"`
	Shared      []Share       `json:"shared_with_groups"`
	Members     map[int64]int `json:"-"` // access levels
}

// Share is the access of a group.
type Share struct {
	ID    int64 `json:"group_id"`
	Level int   `json:"group_access_level"`
}

// Epic is an epic of a group.
type Epic struct {
	ID      int64 `json:"id"`
	GroupID int64 `json:"group_id"`
}

// Project is a project.
type Project struct {
	ID         int64          `json:"id"`
	Name       string         `json:"name"`
	Path       string         `json:"path"`
	FullPath   string         `json:"path_with_namespace"`
	HTTPURL    string         `json:"http_url_to_repo"`
	WebURL     string         `json:"web_url"`
	Visibility string         `json:"visibility"`
	Topics     []string       `json:"topics"`
	CreatorID  int64          `json:"creator_id"`
	Default    *string        `json:"default_branch"`
	Namespace  map[string]any `json:"namespace"`

	// Settings are the other parameters of its creation.
	Settings     map[string]any  `json:"-"`
	Members      map[int64]int   `json:"-"`
	Protected    []string        `json:"-"`
	Variables    []*Variable     `json:"-"`
	AccessTokens []*IssuedToken  `json:"-"`
	DeployTokens []*IssuedToken  `json:"-"`
	Triggers     []*IssuedToken  `json:"-"`
	Pipelines    []*Pipeline     `json:"-"`
	Issues       []*Issue        `json:"-"`
	Requests     []*MergeRequest `json:"-"`
	Approvers    []*User         `json:"-"`
	// Preparing is how often a merge request says that it is not ready yet.
	Preparing int `json:"-"`
}

// Variable is a CI/CD variable.
type Variable struct {
	Key         string  `json:"key"`
	Value       *string `json:"value"`
	Type        string  `json:"variable_type"`
	Protected   bool    `json:"protected"`
	Masked      bool    `json:"masked"`
	Hidden      bool    `json:"hidden"`
	Raw         bool    `json:"raw"`
	Scope       string  `json:"environment_scope"`
	Description string  `json:"description"`
}

// IssuedToken is an access token, a deploy token or a trigger token.
type IssuedToken struct {
	ID          int64    `json:"id"`
	Name        string   `json:"name,omitempty"`
	Username    string   `json:"username,omitempty"`
	Description string   `json:"description,omitempty"`
	Scopes      []string `json:"scopes,omitempty"`
	Level       int      `json:"access_level,omitempty"`
	ExpiresAt   string   `json:"expires_at,omitempty"`
	Revoked     bool     `json:"revoked"`
	// Token is told when it is created only.
	Token string `json:"token,omitempty"`
}

// Pipeline is a pipeline.
type Pipeline struct {
	ID        int64          `json:"id"`
	Ref       string         `json:"ref"`
	Source    string         `json:"source"`
	WebURL    string         `json:"web_url"`
	Variables map[string]any `json:"-"`
}

// Issue is an issue.
type Issue struct {
	ID        int64  `json:"id"`
	IID       int64  `json:"iid"`
	ProjectID int64  `json:"project_id"`
	Title     string `json:"title"`
	State     string `json:"state"`
	WebURL    string `json:"web_url"`
	UpdatedAt string `json:"updated_at"`
	AuthorID  int64  `json:"-"`
	// Parameters are all others that it was created or changed with.
	Parameters map[string]any `json:"-"`
}

// MergeRequest is a merge request.
type MergeRequest struct {
	ID        int64   `json:"id"`
	IID       int64   `json:"iid"`
	Title     string  `json:"title"`
	State     string  `json:"state"`
	Source    string  `json:"source_branch"`
	Target    string  `json:"target_branch"`
	WebURL    string  `json:"web_url"`
	Status    string  `json:"detailed_merge_status"`
	AutoMerge bool    `json:"merge_when_pipeline_succeeds"`
	Reviewers []int64 `json:"-"`
	// Parameters are all others that it was created with.
	Parameters map[string]any `json:"-"`

	preparing int
}

// Migration is a bulk import.
type Migration struct {
	ID       int64            `json:"id"`
	Status   string           `json:"status"`
	Entities []map[string]any `json:"-"`
	Source   map[string]any   `json:"-"`
}

// AddUser adds a user.
func (s *Server) AddUser(name string) *User {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := &User{ID: s.id(), Username: name, Name: name, State: "active"}
	s.users = append(s.users, u)
	return u
}

// AddGroup adds a group below those that its path names, which have to be
// there.
func (s *Server) AddGroup(full string) *Group {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addGroup(full)
}

func (s *Server) addGroup(full string) *Group {
	g := &Group{ID: s.id(), FullPath: full, Path: full[strings.LastIndexByte(full, '/')+1:], Shared: []Share{}, Members: map[int64]int{}}
	g.Name = g.Path
	if at := strings.LastIndexByte(full, '/'); at >= 0 {
		g.ParentID = &s.group(full[:at]).ID
	}
	s.groups = append(s.groups, g)
	return g
}

// AddProject adds a project with an empty repository.
func (s *Server) AddProject(full string) *Project {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := strings.LastIndexByte(full, '/')
	id, kind := s.namespace(full[:at])
	return s.addProject(full[at+1:], full[:at], id, kind)
}

func (s *Server) addProject(name, namespace string, id int64, kind string) *Project {
	full := namespace + "/" + name
	s.Git.Create(full)
	p := &Project{
		ID: s.id(), Name: name, Path: name, FullPath: full, HTTPURL: s.URL + "/" + full + ".git", WebURL: s.URL + "/" + full, Visibility: "private",
		Namespace: map[string]any{"id": id, "kind": kind, "full_path": namespace}, Members: map[int64]int{}, Topics: []string{},
	}
	s.projects = append(s.projects, p)
	return p
}

// AddEpic adds an epic to a group.
func (s *Server) AddEpic(g *Group) Epic {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := Epic{s.id(), g.ID}
	s.epics = append(s.epics, e)
	return e
}

// Look reads, or changes, what the server has.
func (s *Server) Look(look func(projects []*Project, groups []*Group, migrations []*Migration)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	look(s.projects, s.groups, s.migrations)
}

// Project returns a project by its whole path; nil if there is none.
func (s *Server) Project(full string) *Project {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.project(full)
}

func (s *Server) project(id string) *Project {
	for _, p := range s.projects {
		if strconv.FormatInt(p.ID, 10) == id || p.FullPath == id {
			return p
		}
	}
	return nil
}

func (s *Server) group(id string) *Group {
	for _, g := range s.groups {
		if strconv.FormatInt(g.ID, 10) == id || g.FullPath == id {
			return g
		}
	}
	return nil
}

func (s *Server) user(id string) *User {
	for _, u := range s.users {
		if strconv.FormatInt(u.ID, 10) == id {
			return u
		}
	}
	return nil
}

// namespace finds a group or a user by the path or the number of the
// namespace; 0 if there is none.
func (s *Server) namespace(id string) (number int64, kind string) {
	if g := s.group(id); g != nil {
		return g.ID, "group"
	}
	for _, u := range s.users {
		if u.Username == id || strconv.FormatInt(u.ID+userNamespace, 10) == id {
			return u.ID + userNamespace, "user"
		}
	}
	return 0, ""
}

func (s *Server) namespacePath(id int64) string {
	if g := s.group(strconv.FormatInt(id, 10)); g != nil {
		return g.FullPath
	}
	return s.users[slices.IndexFunc(s.users, func(u *User) bool { return u.ID+userNamespace == id })].Username
}
