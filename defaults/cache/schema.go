package cache

// ConfigSchema describes the configuration of the cache.
const ConfigSchema = `{
  "$schema": "http://json-schema.org/draft-07/schema#",
  "type": "object",
  "properties": {
    "backend": {
      "type": "object",
      "properties": {
        "cache": {
          "type": "object",
          "description": "Where plugins keep values for a while.",
          "properties": {
            "store": { "type": "string", "default": "memory", "description": "memory, redis, valkey or memcache. Default: memory, which each process has for itself." },
            "connection": {
              "visibility": "secret",
              "description": "How to reach the store: redis://user:password@host:6379/0 (rediss:// for TLS) for redis and valkey, host:11211,host2:11211 for memcache. For redis also an object with url, username, password, database and name. No default; not needed for memory and for clusters.",
              "anyOf": [
                { "type": "string" },
                {
                  "type": "object",
                  "properties": {
                    "url": { "type": "string", "visibility": "secret", "description": "URL of the server. Required." },
                    "username": { "type": "string", "description": "User name in place of that of the URL. Default: that of the URL." },
                    "password": { "type": "string", "visibility": "secret", "description": "Password in place of that of the URL. Default: that of the URL." },
                    "database": { "type": "integer", "description": "Number of the database. Default: that of the URL, or 0." },
                    "name": { "type": "string", "description": "Name shown in the server's list of connections. Default: none." }
                  }
                }
              ]
            },
            "defaultTtl": {
              "description": "How long values are kept that are set without a time: milliseconds, or a duration such as {minutes: 5}. Default: for ever.",
              "anyOf": [ { "type": "number" }, { "type": "string" }, { "type": "object" } ]
            },
            "timeout": {
              "description": "How long an operation of the store may take before the cache acts as if it were empty: a duration. Default: 1 second.",
              "anyOf": [ { "type": "string" }, { "type": "object" } ]
            },
            "useRedisSets": { "type": "boolean", "deprecated": "It does nothing.", "description": "Does nothing. Default: absent." },
            "memory": {
              "type": "object",
              "description": "The store in memory.",
              "properties": {
                "maxBytes": { "type": "integer", "default": 67108864, "description": "How much it may hold for all plugins together, in bytes. Default: 67108864 (64 MiB)." }
              }
            },
            "redis": {
              "type": "object",
              "description": "The store redis.",
              "properties": {
                "client": {
                  "type": "object",
                  "description": "Names of keys.",
                  "properties": {
                    "namespace": { "type": "string", "description": "Prefix of all keys. Default: none." },
                    "keyPrefixSeparator": { "type": "string", "default": ":", "description": "What stands between the parts of a key. Default: a colon." },
                    "clearBatchSize": { "type": "number", "description": "Read by other backends that share the configuration; does nothing here. Default: absent." },
                    "useUnlink": { "type": "boolean", "description": "Read by other backends that share the configuration; does nothing here, keys are always unlinked. Default: absent." },
                    "noNamespaceAffectsAll": { "type": "boolean", "description": "Read by other backends that share the configuration; does nothing here. Default: absent." }
                  }
                },
                "cluster": { "$ref": "#/definitions/cacheCluster" }
              }
            },
            "valkey": {
              "type": "object",
              "description": "The store valkey.",
              "properties": {
                "client": {
                  "type": "object",
                  "description": "Names of keys.",
                  "properties": { "keyPrefix": { "type": "string", "description": "Prefix of all keys. Default: none." } }
                },
                "cluster": { "$ref": "#/definitions/cacheCluster" }
              }
            }
          }
        }
      }
    }
  },
  "definitions": {
    "cacheCluster": {
      "type": "object",
      "description": "A cluster in place of a single server. Default: absent.",
      "properties": {
        "rootNodes": {
          "type": "array",
          "deepVisibility": "secret",
          "description": "Some nodes; the others are found through them.",
          "items": { "type": "object", "properties": { "url": { "type": "string", "description": "URL of the node. Required." } } }
        },
        "defaults": {
          "type": "object",
          "deepVisibility": "secret",
          "description": "What is used for each node.",
          "properties": {
            "username": { "type": "string", "description": "User name. Default: that of the URL." },
            "password": { "type": "string", "description": "Password. Default: that of the URL." }
          }
        },
        "useReplicas": { "type": "boolean", "default": false, "description": "Read from replicas, too. Default: false." },
        "minimizeConnections": { "type": "boolean", "description": "Read by other backends that share the configuration; does nothing here. Default: absent." },
        "maxCommandRedirections": { "type": "number", "description": "Read by other backends that share the configuration; does nothing here. Default: absent." }
      }
    }
  }
}`
