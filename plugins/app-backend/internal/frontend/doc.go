// Package frontend serves the built bundle of a frontend: its page at every
// path, and its files.
//
//	main, err := frontend.Open(frontend.Options{Dir: "packages/app/dist", Config: config})
//	router.HandleErr("/", main.Serve)
//
// What is at /static never changes under its name, so browsers keep it for two
// weeks. What is missing there is 404 and never the page, because a browser
// would take the page for a script. It is looked for in earlier bundles first,
// so that pages which were loaded before an update work on. All other paths
// are files of the bundle, or else the page, in which the frontend itself
// finds out what to show.
//
// Files are read when they are asked for, through [os.Root]: nothing outside
// of the bundle is served, whatever a path or a symbolic link says. Files and
// folders whose names begin with a dot are not served either.
package frontend
