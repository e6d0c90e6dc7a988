// Package statuspage is a web page on which a backend shows what it consists
// of and how it is doing: its plugins with their state, modules, extension
// points and routes, its services with who uses them, and the wiring as a
// picture. It is part of the default services:
//
//	b := flytower.New() // open http://localhost:7007/
//
// The page is at / where no frontend is served (by the plugin app), and always
// at /.flytower/status. It follows the backend by asking again every
// few seconds, and is complete without the script that does so. Programs read
// the same from /.flytower/status.json.
//
// # Who sees it
//
// By default (backend.statusPage: loopback) only requests from the same
// machine that no proxy passed on; all others get 404. With "public"
// everybody may, but errors, warnings, versions and places in the source
// remain for the same machine. "off" mounts nothing. Configuration values are
// never shown.
package statuspage
