package scaffold

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Project is a Go module that plugins, modules and services are added to.
type Project struct {
	// Root is the folder of the module.
	Root string
	// Module is the path of the module.
	Module string
	// Base is the folder of the backend, relative to Root, with slashes: the
	// nearest one that has a list of features or a folder plugins, since a
	// module may have several.
	Base string
	// Plugins is the folder that plugins are in, relative to Root.
	Plugins string
}

// Open finds the project that a folder is in.
func Open(ctx context.Context, dir string) (*Project, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	base := ""
	for at := dir; ; at = filepath.Dir(at) {
		if base == "" && isBase(at) {
			base = at
		}
		_, err := os.Stat(filepath.Join(at, "go.mod"))
		if err == nil {
			return open(ctx, at, base)
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
			return nil, err
		}
		if at == filepath.Dir(at) {
			return nil, fmt.Errorf("%s is not in a Go module; write a backend first (new backend NAME), or name its folder with --dir", dir)
		}
	}
}

func open(ctx context.Context, root, base string) (*Project, error) {
	m, err := readModFile(ctx, root)
	if err != nil {
		return nil, err
	}
	if base == "" {
		base = root
	}
	folder, err := layout(base)
	if err != nil {
		return nil, err
	}
	rel, err := filepath.Rel(root, base)
	if err != nil {
		return nil, err
	}
	rel = filepath.ToSlash(rel)
	return &Project{Root: root, Module: m.Module.Path, Base: rel, Plugins: path.Join(rel, folder)}, nil
}

// isBase reports whether a folder has a backend.
func isBase(dir string) bool {
	if info, err := os.Stat(filepath.Join(dir, "plugins")); err == nil && info.IsDir() {
		return true
	}
	name, err := listBelow(dir)
	return err == nil && name != ""
}

// layout returns the folder that plugins are in: plugins, unless some are
// beside it already.
func layout(base string) (string, error) {
	entries, err := os.ReadDir(base)
	if err != nil {
		return "", err
	}
	folder := "plugins"
	for _, e := range entries {
		switch name := e.Name(); {
		case !e.IsDir():
		case name == "plugins":
			return name, nil
		case strings.HasSuffix(name, "-backend"), strings.Contains(name, "-backend-module-"), strings.HasSuffix(name, "-node"):
			folder = ""
		}
	}
	return folder, nil
}

// importPath returns the import path of a folder of the project.
func (p *Project) importPath(folder string) string { return path.Join(p.Module, folder) }

// AddPlugin writes the packages <id>-backend and <id>-node, and adds the
// plugin to the features.
func (p *Project) AddPlugin(id string) (Result, error) {
	if err := checkID("plugin", id); err != nil {
		return Result{}, err
	}
	folder, node := path.Join(p.Plugins, id+"-backend"), path.Join(p.Plugins, id+"-node")
	v := values{
		Framework: Framework, ID: id, Package: packageName(id, "backend"), Path: p.importPath(folder),
		NodePackage: packageName(id, "node"), NodePath: p.importPath(node),
	}
	files := []file{
		{path: path.Join(folder, "plugin.go"), template: "plugin/plugin.go.tmpl", data: v},
		{path: path.Join(folder, "router.go"), template: "plugin/router.go.tmpl", data: v},
		{path: path.Join(folder, "service.go"), template: "plugin/service.go.tmpl", data: v},
		{path: path.Join(folder, "store.go"), template: "plugin/store.go.tmpl", data: v},
		{path: path.Join(folder, "migrations/postgres/0001_items.sql"), template: "plugin/migration.sql.tmpl", data: v},
		{path: path.Join(folder, "migrations/sqlite/0001_items.sql"), template: "plugin/migration.sql.tmpl", data: v},
		{path: path.Join(folder, "plugin_test.go"), template: "plugin/plugin_test.go.tmpl", data: v},
		{path: path.Join(node, "node.go"), template: "node/node.go.tmpl", data: v},
		{path: path.Join(node, "client.go"), template: "node/client.go.tmpl", data: v},
	}
	result, err := p.writeNew(files, folder, node)
	if err != nil {
		return result, err
	}
	listed, err := p.list(feature{v.Package, v.Path, "Plugin"})
	result.add(listed)
	return result, err
}

// AddModule writes the package <plugin>-backend-module-<id>, and adds the
// module to the features. The plugin is one of the project, one of the
// framework, or one whose -node package nodePath names.
func (p *Project) AddModule(ctx context.Context, plugin, id, nodePath string) (Result, error) {
	if err := checkID("plugin", plugin); err != nil {
		return Result{}, err
	}
	if err := checkID("module", id); err != nil {
		return Result{}, err
	}
	node, err := p.findNode(ctx, plugin, nodePath)
	if err != nil {
		return Result{}, err
	}
	folder := path.Join(p.Plugins, plugin+"-backend-module-"+id)
	v := values{
		Framework: Framework, ID: id, PluginID: plugin, Package: packageName(plugin, "module"+packageName(id, "")), Path: p.importPath(folder),
		NodePackage: node.name, NodePath: node.path, Point: node.point, PointType: node.pointType, Checks: node.checks,
	}
	kind := "module/module"
	if node.path == Framework+"/plugins/scaffolder-node" {
		kind = "module/action" // what most modules of the scaffolder are for
	}
	result, err := p.writeNew([]file{
		{path: path.Join(folder, "module.go"), template: kind + ".go.tmpl", data: v},
		{path: path.Join(folder, "module_test.go"), template: kind + "_test.go.tmpl", data: v},
	}, folder)
	if err != nil {
		return result, err
	}
	features := []feature{{v.Package, v.Path, "Module"}}
	if node.backend != "" { // a module needs its plugin
		features = append(features, feature{packageName(plugin, "backend"), node.backend, "Plugin"})
	} else {
		result.Notes = append(result.Notes, fmt.Sprintf("Add the plugin %s to the features, too, if it is not there: a module needs its plugin.", plugin))
	}
	listed, err := p.list(features...)
	result.add(listed)
	return result, err
}

// AddService writes the package services/<id>.
func (p *Project) AddService(id string) (Result, error) {
	if err := checkID("service", id); err != nil {
		return Result{}, err
	}
	folder := path.Join(p.Base, "services", id)
	v := values{
		Framework: Framework, ID: id, Package: packageName(id, ""), Path: p.importPath(folder),
		ServiceID: path.Base(p.Module) + "." + configKey(id), ConfigKey: configKey(id),
	}
	result, err := p.writeNew([]file{
		{path: path.Join(folder, v.Package+".go"), template: "service/service.go.tmpl", data: v},
		{path: path.Join(folder, v.Package+"_test.go"), template: "service/service_test.go.tmpl", data: v},
	}, folder)
	if err == nil {
		result.Notes = append(result.Notes, fmt.Sprintf("Plugins ask for it with %s.Ref.From(env); it needs no place among the features.", v.Package))
	}
	return result, err
}

// writeNew writes files to folders that must not be there yet.
func (p *Project) writeNew(files []file, folders ...string) (Result, error) {
	for _, folder := range folders {
		switch _, err := os.Lstat(filepath.Join(p.Root, filepath.FromSlash(folder))); {
		case err == nil:
			return Result{}, fmt.Errorf("nothing was written, because there is a folder %s already; choose another id, or remove it", folder)
		case !errors.Is(err, fs.ErrNotExist):
			return Result{}, err
		}
	}
	return write(p.Root, files)
}
