// Package database gives every plugin a database of its own, on PostgreSQL or
// in a SQLite file, as backend.database of the configuration says.
//
//	backend:
//	  database:
//	    client: pg
//	    connection: {host: db, user: backstage, password: ${PASSWORD}}
//
// [Factory] is the default implementation of core.Database:
//
//	b := backend.New(backend.WithDefaults(database.Factory))
//
// # PostgreSQL
//
// With pluginDivisionMode "database" each plugin has a database named
// backstage_plugin_<id> and a pool of connections to it. With "schema" each
// has a schema named <id> in one database, and all share one pool, whose
// connections change the schema as they change hands.
//
// Connections are made when they are needed, and closed when they were idle
// for a while. All pools together have at most backend.database.maxConnections
// of them (30); who needs one beyond that waits in line. Where a pool has an
// idle connection while another needs one, the idle one is closed.
//
// # SQLite
//
// Each plugin has a file with a write-ahead log: readers do not wait for the
// writer, and writers wait for each other. ":memory:" is a private database
// that lasts until the backend stops.
package database
