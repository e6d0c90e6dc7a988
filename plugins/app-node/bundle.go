package appnode

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/flytower/flytower/core"
)

const (
	distDirKey     = "app.distDir"
	packageNameKey = "app.packageName"
)

// NoBundle is the error of [FindBundle] where there is no built frontend.
type NoBundle struct {
	// Named tells that the configuration names a folder or a package.
	Named bool

	packageName    string
	bases, folders []string
}

// Error says where the frontend was looked for, and what to do.
func (e *NoBundle) Error() string {
	if len(e.folders) == 0 {
		return fmt.Sprintf("there is no package %q below packages or node_modules in %q; set app.distDir to the folder of the built frontend, or leave the plugin app out (--plugins) if it is served elsewhere",
			e.packageName, e.bases)
	}
	return fmt.Sprintf("there is no folder static in any of %q; build the frontend (yarn workspace %s build), set app.distDir to the folder of the built one, or leave the plugin app out (--plugins) if it is served elsewhere",
		e.folders, e.packageName)
}

// FindBundle returns the folder of the built frontend that the plugin app of a
// backend with this configuration serves. It looks at app.distDir, or else for
// the folder dist of the package app.packageName: relative to the folders of
// the configuration files, then to the working directory. The error is a
// [*NoBundle] or a [*core.ConfigError].
func FindBundle(config core.ConfigRoot) (dir string, err error) {
	none := &NoBundle{Named: config.Has(distDirKey) || config.Has(packageNameKey), bases: bases(config)}
	distDir, err := config.StringOr(distDirKey, "")
	if err != nil {
		return "", err
	}
	if none.packageName, err = config.StringOr(packageNameKey, "app"); err != nil {
		return "", err
	}
	if !fs.ValidPath(none.packageName) || none.packageName == "." {
		return "", &core.ConfigError{
			Key: packageNameKey, Position: config.Position(packageNameKey), Problem: "is no name of a package",
			Remedy: "write it as app or @acme/app, or name the folder in app.distDir",
		}
	}
	none.folders = folders(distDir, none.packageName, none.bases)
	for _, dir := range none.folders {
		if info, err := os.Stat(filepath.Join(dir, "static")); err == nil && info.IsDir() {
			return dir, nil
		}
	}
	return "", none
}

// bases returns the folders that relative ones are relative to.
func bases(config core.ConfigRoot) []string {
	var dirs []string
	add := func(dir string) {
		if !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	for _, source := range slices.Backward(config.Sources()) {
		if info, err := os.Stat(source); filepath.IsAbs(source) && err == nil && info.Mode().IsRegular() {
			add(filepath.Dir(source))
		}
	}
	if wd, err := os.Getwd(); err == nil {
		add(wd)
	}
	return dirs
}

// folders returns those to look at.
func folders(distDir, packageName string, bases []string) (dirs []string) {
	if filepath.IsAbs(distDir) {
		return []string{filepath.Clean(distDir)}
	}
	for _, base := range bases {
		if distDir != "" {
			dirs = append(dirs, filepath.Join(base, distDir))
			continue
		}
		for _, at := range []string{
			filepath.Join("packages", path.Base(packageName)), // a monorepo, or an image of one
			filepath.Join("node_modules", filepath.FromSlash(packageName)),
			path.Base(packageName),
		} {
			if dir := filepath.Join(base, at); isPackage(dir, packageName) {
				dirs = append(dirs, filepath.Join(dir, "dist"))
			}
		}
	}
	return dirs
}

// isPackage reports whether a folder is, or may be, a package of the name.
func isPackage(dir, name string) bool {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return false
	}
	text, err := os.ReadFile(filepath.Join(dir, "package.json"))
	if err != nil {
		return true // nothing says otherwise
	}
	var manifest struct{ Name string }
	return json.Unmarshal(text, &manifest) == nil && manifest.Name == name
}
