package appbackend

import (
	"net/url"
	"strings"

	"github.com/flytower/flytower/core"
)

// settings are what the configuration says about how to serve the frontend.
type settings struct {
	inject, keep, public bool
	publicPath           string
}

func readSettings(config core.Config) (s settings, err error) {
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

// readPublicPath returns the path of app.baseUrl without slashes at its end.
func readPublicPath(config core.Config) (string, error) {
	text, err := config.StringOr("app.baseUrl", "/")
	if err != nil {
		return "", err
	}
	u, err := url.Parse(text)
	if err != nil {
		return "", &core.ConfigError{
			Key: "app.baseUrl", Position: config.Position("app.baseUrl"), Problem: "is no URL",
			Remedy: "write it as https://portal.example.com", Err: err,
		}
	}
	return strings.TrimRight(u.EscapedPath(), "/"), nil
}
