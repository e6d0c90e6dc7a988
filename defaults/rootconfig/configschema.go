package rootconfig

import (
	"encoding/json"
	"fmt"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/configschema"
	"github.com/flytower/flytower/core"
)

// ConfigSchema describes the keys that belong to the whole deployment and to
// no single service or plugin.
const ConfigSchema = `{
  "type": "object",
  "required": ["backend"],
  "properties": {
    "app": {
      "type": "object",
      "description": "The frontend app. Frontend plugins read keys of their own here, so additional keys are allowed.",
      "required": ["baseUrl"],
      "additionalProperties": true,
      "properties": {
        "baseUrl": {"type": "string", "visibility": "frontend", "description": "The URL at which users reach the app, without a trailing slash: https://portal.example.com. Required."},
        "title": {"type": "string", "visibility": "frontend", "description": "The title of the app in the browser. Default: the frontend's own title."},
        "support": {
          "type": "object",
          "description": "Where users of the app get help.",
          "properties": {
            "url": {"type": "string", "visibility": "frontend", "description": "The main page for help."},
            "items": {
              "type": "array",
              "description": "The entries of the support dialog. Default: none.",
              "items": {
                "type": "object",
                "properties": {
                  "title": {"type": "string", "visibility": "frontend", "description": "The heading of the entry."},
                  "icon": {"type": "string", "visibility": "frontend", "description": "The name of an icon of the app."},
                  "links": {
                    "type": "array",
                    "description": "The links of the entry.",
                    "items": {
                      "type": "object",
                      "properties": {
                        "url": {"type": "string", "visibility": "frontend", "description": "Where the link leads."},
                        "title": {"type": "string", "visibility": "frontend", "description": "The text of the link. Default: the URL."}
                      }
                    }
                  }
                }
              }
            }
          }
        }
      }
    },
    "organization": {
      "type": "object",
      "description": "The organization that runs the portal.",
      "additionalProperties": true,
      "properties": {
        "name": {"type": "string", "visibility": "frontend", "description": "The name of the organization, shown in the app. Default: none."}
      }
    },
    "backend": {
      "type": "object",
      "description": "The backend system.",
      "required": ["baseUrl"],
      "properties": {
        "baseUrl": {"type": "string", "visibility": "frontend", "description": "The URL at which the app and other backends reach this backend, without a path below it: https://portal.example.com. Required."},
        "packages": {
          "description": "Which packages the Node backend installs by discovery: all, or an object with include and exclude. Accepted so that files can be shared with a Node backend; this backend is composed in code and ignores it.",
          "anyOf": [
            {"type": "string", "enum": ["all"]},
            {"type": "object", "properties": {
              "include": {"type": "array", "items": {"type": "string"}, "description": "Names of packages to install."},
              "exclude": {"type": "array", "items": {"type": "string"}, "description": "Names of packages to leave out."}
            }}
          ]
        },
        "workingDirectory": {"type": "string", "description": "The directory for temporary files of long operations. Default: that of the operating system."}
      }
    },
    "aws": {
      "type": "object",
      "description": "Credentials for AWS accounts, which integrations look up by account.",
      "properties": {
        "mainAccount": {
          "type": "object",
          "description": "The account whose credentials are used where none are configured for an account.",
          "properties": {
            "accessKeyId": {"type": "string", "description": "The id of an access key. Default: the default credential chain of AWS."},
            "secretAccessKey": {"type": "string", "visibility": "secret", "description": "The secret of the access key."},
            "profile": {"type": "string", "description": "The name of a profile of the shared credentials file."},
            "region": {"type": "string", "description": "The region of the security token service. Default: us-east-1."}
          }
        },
        "accountDefaults": {
          "type": "object",
          "description": "What applies to accounts that are not listed.",
          "properties": {
            "roleName": {"type": "string", "description": "The name of the role to assume in the account."},
            "partition": {"type": "string", "description": "The partition of the account: aws, aws-us-gov or aws-cn. Default: aws."},
            "region": {"type": "string", "description": "The region of the security token service. Default: us-east-1."},
            "externalId": {"type": "string", "visibility": "secret", "description": "The external id that the role asks for."}
          }
        },
        "accounts": {
          "type": "array",
          "description": "Accounts with credentials of their own. Default: none.",
          "items": {
            "type": "object",
            "properties": {
              "accountId": {"type": "string", "description": "The id of the account."},
              "accessKeyId": {"type": "string", "description": "The id of an access key."},
              "secretAccessKey": {"type": "string", "visibility": "secret", "description": "The secret of the access key."},
              "roleName": {"type": "string", "description": "The name of the role to assume."},
              "profile": {"type": "string", "description": "The name of a profile of the shared credentials file."},
              "partition": {"type": "string", "description": "The partition of the account. Default: aws."},
              "region": {"type": "string", "description": "The region of the security token service. Default: us-east-1."},
              "externalId": {"type": "string", "visibility": "secret", "description": "The external id that the role asks for."}
            }
          }
        }
      }
    },
    "connections": {
      "description": "Connections to other systems that plugins ask for by type. Members depend on the type, so they are not checked."
    },
    "dynamicPlugins": {
      "type": "object",
      "description": "Plugins that are added without building the portal anew.",
      "additionalProperties": true,
      "properties": {
        "rootDirectory": {"type": "string", "description": "The directory in which each plugin has one of its own, relative to the working directory. Default: none, so nothing is loaded."}
      }
    }
  }
}`

// secretSchema marks the values that are secret whether or not the service
// that reads them is installed here: files are shared between backends.
const secretSchema = `{
  "properties": {
    "backend": {
      "properties": {
        "https": {"properties": {"certificate": {"type": "object", "additionalProperties": true, "properties": {"key": {"visibility": "secret"}}}}, "additionalProperties": true},
        "auth": {
          "additionalProperties": true,
          "properties": {
            "keys": {"type": "array", "items": {"properties": {"secret": {"visibility": "secret"}}, "additionalProperties": true}},
            "externalAccess": {"type": "array", "items": {"additionalProperties": true, "properties": {"options": {
              "additionalProperties": true,
              "properties": {"secret": {"visibility": "secret"}, "token": {"visibility": "secret"}}
            }}}}
          }
        },
        "database": {
          "additionalProperties": true,
          "properties": {
            "connection": {"$ref": "#/definitions/connection"},
            "plugin": {"additionalProperties": {"additionalProperties": true, "properties": {"connection": {"$ref": "#/definitions/connection"}}}}
          }
        },
        "cache": {
          "additionalProperties": true,
          "properties": {
            "connection": {"$ref": "#/definitions/connection"},
            "redis": {"additionalProperties": true, "properties": {"cluster": {"$ref": "#/definitions/cluster"}}},
            "valkey": {"additionalProperties": true, "properties": {"cluster": {"$ref": "#/definitions/cluster"}}},
            "infinispan": {"additionalProperties": true, "properties": {"authentication": {"additionalProperties": true, "properties": {
              "password": {"visibility": "secret"}, "token": {"visibility": "secret"}
            }}}}
          }
        }
      }
    }
  },
  "definitions": {
    "connection": {
      "visibility": "secret",
      "additionalProperties": true,
      "properties": {
        "url": {"visibility": "secret"},
        "connectionString": {"visibility": "secret"},
        "password": {"visibility": "secret"},
        "ssl": {"additionalProperties": true, "properties": {"key": {"visibility": "secret"}}},
        "tokenCredential": {"additionalProperties": true, "properties": {"clientSecret": {"visibility": "secret"}}}
      }
    },
    "cluster": {
      "additionalProperties": true,
      "properties": {
        "rootNodes": {"deepVisibility": "secret"},
        "defaults": {"deepVisibility": "secret"}
      }
    }
  }
}`

// MergeSchemas merges the schema of the framework with others.
func MergeSchemas(sources ...configschema.Source) (*configschema.Schema, error) {
	all := []configschema.Source{{Owner: "the backend system", Value: json.RawMessage(ConfigSchema)}}
	all = append(all, sources...)
	// The framework's list of secrets comes last, so that keys are owned by
	// whoever describes them.
	all = append(all, configschema.Source{Owner: "", Value: json.RawMessage(secretSchema)})
	return configschema.Merge(all...)
}

// InstalledSchemas returns the schemas that the plugins and modules of a
// backend publish with [core.ConfigSchema].
func InstalledSchemas(instance backend.Instance) []configschema.Source {
	var sources []configschema.Source
	for _, a := range instance.Annotations(core.ConfigSchemaAnnotation) {
		schema, ok := a.Value.(json.RawMessage)
		if !ok {
			continue
		}
		owner := "plugin " + a.Plugin
		if a.Module != "" {
			owner = fmt.Sprintf("module %s of plugin %s", a.Module, a.Plugin)
		}
		sources = append(sources, configschema.Source{Owner: owner, Value: schema})
	}
	return sources
}
