// Package rootconfig is the default configuration of a backend: YAML files,
// laid over each other and over environment variables, read by
// [core.Config].
//
//	root, err := rootconfig.Load(ctx, rootconfig.Options{})
//	baseURL, err := root.String("backend.baseUrl")
//
// # Sources
//
// Later sources win: app-config.yaml (which must exist), app-config.<env>.yaml
// for each name in BACKSTAGE_ENV, app-config.local.yaml,
// app-config.<env>.local.yaml, and environment variables such as
// APP_CONFIG_backend_listen_port=8080, whose values are JSON or plain text.
// Files are looked for in the nearest directory above whose package.json has
// workspaces, else in the working directory. With --config <file>, which may
// be repeated, only the named files and the environment are used.
//
// # References
//
// In files, ${NAME} stands for an environment variable, ${NAME:-fallback}
// gives a fallback, and $${NAME} is the literal text. A key whose variable is
// not set counts as not written. An object {$env: NAME} stands for a
// variable, {$file: path} for the text of a file and {$include:
// path#member.of.it} for a value of a YAML or JSON file; paths are relative
// to the file in which they stand.
//
// # Changes
//
// [Root.Watch] follows the files and everything that they include. Values
// that are read again are the new ones, and [Root.Subscribe] tells when to
// read again. A broken edit is logged and changes nothing.
//
// # Schemas
//
// [Check] compares a configuration with the schemas of the installed plugins
// and names the file and line of every problem, [Root.Print] shows where each
// value comes from, and the values that schemas mark as secret are what
// [Root.Secrets] returns.
package rootconfig
