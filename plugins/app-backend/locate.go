package appbackend

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

// settings are what the configuration says.
type settings struct {
	distDir     string // "" looks for the package
	packageName string
	named       bool // one of the two was configured

	inject, keep, public bool
	publicPath           string
}

func readSettings(config core.Config) (settings, error) {
	s := settings{named: config.Has("app.distDir") || config.Has("app.packageName")}
	var err error
	if s.distDir, err = config.StringOr("app.distDir", ""); err != nil {
		return s, err
	}
	if s.packageName, err = config.StringOr("app.packageName", "app"); err != nil {
		return s, err
	}
	if !fs.ValidPath(s.packageName) || s.packageName == "." {
		return s, &core.ConfigError{
			Key: "app.packageName", Position: config.Position("app.packageName"), Problem: "is no name of a package",
			Remedy: "write it as app or @acme/app, or name the folder in app.distDir",
		}
	}
	for key, to := range map[string]*bool{
		"app.disableConfigInjection":     &s.inject,
		"app.disableStaticFallbackCache": &s.keep,
		"app.disablePublicEntryPoint":    &s.public,
	} {
		disabled, err := config.BoolOr(key, false)
		if err != nil {
			return s, err
		}
		*to = !disabled
	}
	s.publicPath, err = readPublicPath(config)
	return s, err
}

// bases returns the folders that relative ones are relative to.
func bases(config core.ConfigRoot) []string {
	var dirs []string
	for _, source := range slices.Backward(config.Sources()) {
		if info, err := os.Stat(source); filepath.IsAbs(source) && err == nil && info.Mode().IsRegular() {
			dirs = append(dirs, filepath.Dir(source))
		}
	}
	if wd, err := os.Getwd(); err == nil {
		dirs = append(dirs, wd)
	}
	seen := map[string]bool{}
	return slices.DeleteFunc(dirs, func(dir string) bool {
		again := seen[dir]
		seen[dir] = true
		return again
	})
}

// locate returns the folder of the built frontend, or "" and those that were
// looked at.
func (s settings) locate(bases []string) (dir string, looked []string) {
	add := func(dir string) { looked = append(looked, filepath.Clean(dir)) }
	switch {
	case filepath.IsAbs(s.distDir):
		add(s.distDir)
	case s.distDir != "":
		for _, base := range bases {
			add(filepath.Join(base, s.distDir))
		}
	default:
		for _, base := range bases {
			for _, at := range []string{
				filepath.Join("packages", path.Base(s.packageName)), // a monorepo, or an image of one
				filepath.Join("node_modules", filepath.FromSlash(s.packageName)),
				path.Base(s.packageName),
			} {
				if !isPackage(filepath.Join(base, at), s.packageName) {
					continue
				}
				add(filepath.Join(base, at, "dist"))
			}
		}
	}
	for _, dir := range looked {
		if isBundle(dir) {
			return dir, nil
		}
	}
	return "", looked
}

// isBundle reports whether a folder has what the build of a frontend makes.
func isBundle(dir string) bool {
	info, err := os.Stat(filepath.Join(dir, "static"))
	return err == nil && info.IsDir()
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

// remedy says what to do where there is no frontend.
func (s settings) remedy(looked, bases []string) string {
	if s.distDir == "" && len(looked) == 0 {
		return fmt.Sprintf("there is no package %q below packages or node_modules in %q; set app.distDir to the folder of the built frontend, or leave the plugin app out (--plugins) if it is served elsewhere",
			s.packageName, bases)
	}
	return fmt.Sprintf("there is no folder static in any of %q; build the frontend (yarn workspace %s build), set app.distDir to the folder of the built one, or leave the plugin app out (--plugins) if it is served elsewhere",
		looked, s.packageName)
}
