package database

// ConfigSchema describes the configuration that the package reads.
const ConfigSchema = `{
  "$schema": "http://json-schema.org/draft-07/schema#",
  "type": "object",
  "definitions": {
    "connection": {
      "description": "How to reach the database. PostgreSQL: a string like postgres://user:password@host:5432/name?sslmode=require, or an object. SQLite: ':memory:', {directory}, or for one plugin {filename}.",
      "visibility": "secret",
      "oneOf": [
        {"type": "string"},
        {
          "type": "object",
          "additionalProperties": true,
          "properties": {
            "type": {"type": "string", "description": "Where the password comes from: default (the default) is from here; other values need a source of passwords that the installation adds."},
            "connectionString": {"type": "string", "visibility": "secret", "description": "The connection as a string; its parts replace other members."},
            "host": {"type": "string", "description": "Host name, address, or the folder of a Unix socket. Default: PGHOST, else the local server."},
            "port": {"type": ["integer", "string"], "description": "TCP port. Default: PGPORT, else 5432."},
            "user": {"type": "string", "description": "User name. Default: PGUSER, else the user of the process."},
            "password": {"type": ["string", "number"], "visibility": "secret", "description": "Password. Default: PGPASSWORD, else that of the password file."},
            "database": {"type": "string", "description": "Name of the database: that of all plugins with pluginDivisionMode schema, else of one plugin (default prefix + plugin id)."},
            "ssl": {
              "description": "Encryption with a verified server certificate (true), none (false), or options. Default: encrypted where the server offers it.",
              "oneOf": [
                {"type": ["boolean", "string"]},
                {
                  "type": "object",
                  "additionalProperties": true,
                  "properties": {
                    "ca": {"type": ["string", "array"], "description": "Certificates in PEM form that sign the server's. Default: those of the system."},
                    "cert": {"type": "string", "description": "Certificate of the client in PEM form."},
                    "key": {"type": "string", "visibility": "secret", "description": "Key of the client's certificate in PEM form."},
                    "rejectUnauthorized": {"type": "boolean", "description": "Whether to verify the server's certificate. Default: true."},
                    "servername": {"type": "string", "description": "Host name that the server's certificate must have. Default: host."}
                  }
                }
              ]
            },
            "application_name": {"type": "string", "description": "Name shown by the server. Default: backstage_plugin_<id>."},
            "connectionTimeoutMillis": {"type": ["integer", "string"], "description": "How long connecting may take, in milliseconds. Default: 10000."},
            "statement_timeout": {"type": ["integer", "string"], "description": "Longest duration of a statement in milliseconds. Default: that of the server."},
            "lock_timeout": {"type": ["integer", "string"], "description": "Longest wait for a lock in milliseconds. Default: that of the server."},
            "idle_in_transaction_session_timeout": {"type": ["integer", "string"], "description": "Longest pause within a transaction in milliseconds. Default: that of the server."},
            "options": {"type": "string", "description": "Options of the server in the form of its command line. Default: none."},
            "directory": {"type": "string", "description": "Folder of the SQLite files <plugin id>.sqlite, relative to the working directory; it is made if need be."},
            "filename": {"type": "string", "description": "SQLite file of one plugin, relative to directory; or ':memory:'."},
            "tokenCredential": {
              "type": "object",
              "description": "Options of a source of passwords.",
              "properties": {"clientSecret": {"type": "string", "visibility": "secret", "description": "Secret of the client."}}
            }
          }
        }
      ]
    },
    "knexConfig": {
      "type": "object",
      "description": "Options of the connection pool; other members have no meaning here.",
      "additionalProperties": true,
      "properties": {
        "pool": {
          "type": "object",
          "additionalProperties": true,
          "properties": {
            "min": {"type": "integer", "description": "Accepted and not used: connections are made when needed."},
            "max": {"type": "integer", "minimum": 1, "description": "Most connections of one plugin. Default: 10."},
            "acquireTimeoutMillis": {"type": "integer", "minimum": 1, "description": "Longest wait for a free connection in milliseconds. Default: 60000."},
            "idleTimeoutMillis": {"type": "integer", "minimum": 1, "description": "How long an unused connection is kept, in milliseconds. Default: 30000."}
          }
        }
      }
    }
  },
  "properties": {
    "backend": {
      "type": "object",
      "properties": {
        "database": {
          "type": "object",
          "description": "Where plugins keep their data. Default: SQLite in memory.",
          "required": ["client"],
          "properties": {
            "client": {"enum": ["pg", "better-sqlite3", "sqlite3"], "description": "Kind of database: PostgreSQL (pg) or SQLite."},
            "connection": {"$ref": "#/definitions/connection"},
            "prefix": {"type": "string", "description": "Begin of the names of plugins' databases. Default: backstage_plugin_."},
            "schemaPrefix": {"type": "string", "pattern": "^$|^[a-zA-Z_][a-zA-Z0-9_]*$", "description": "Begin of the names of plugins' schemas. Default: empty."},
            "pluginDivisionMode": {"enum": ["database", "schema"], "description": "Whether plugins have databases of their own, or schemas of one database. Default: database."},
            "ensureExists": {"type": "boolean", "description": "Whether to create a database or schema that is not there. Default: true."},
            "ensureSchemaExists": {"type": "boolean", "description": "Whether to create a schema that is not there even if ensureExists is false. Default: false."},
            "role": {"type": "string", "description": "Role that every connection takes on. Default: none."},
            "maxConnections": {"type": "integer", "minimum": 1, "description": "Most connections to PostgreSQL of all plugins of this process together; who needs more waits in line. Default: 30."},
            "knexConfig": {"$ref": "#/definitions/knexConfig"},
            "skipMigrations": {"type": "boolean", "description": "Whether somebody else brings the tables of all plugins up to date. Default: false."},
            "plugin": {
              "type": "object",
              "description": "What differs for a plugin, by plugin id.",
              "additionalProperties": {
                "type": "object",
                "properties": {
                  "client": {"enum": ["pg", "better-sqlite3", "sqlite3"], "description": "Kind of database. If it is another than that of all plugins, so is the whole connection. Default: that of all plugins."},
                  "connection": {"$ref": "#/definitions/connection"},
                  "ensureExists": {"type": "boolean", "description": "Whether to create a database or schema that is not there. Default: that of all plugins."},
                  "ensureSchemaExists": {"type": "boolean", "description": "Whether to create a schema that is not there even if ensureExists is false. Default: that of all plugins."},
                  "role": {"type": "string", "description": "Role that every connection takes on. Default: that of all plugins."},
                  "knexConfig": {"$ref": "#/definitions/knexConfig"},
                  "skipMigrations": {"type": "boolean", "description": "Whether somebody else brings the plugin's tables up to date. Default: that of all plugins."}
                }
              }
            }
          }
        }
      }
    }
  }
}`
