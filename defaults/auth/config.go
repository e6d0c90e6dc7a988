package auth

import (
	"strings"

	"github.com/flytower/flytower/core"
)

// configError says what is wrong at a key.
func configError(cfg core.Config, key, problem, remedy string) error {
	at := cfg.Position(key)
	if at == (core.Position{}) {
		at = cfg.Position("") // of the parent
	}
	return &core.ConfigError{Key: cfg.Path(key), Position: at, Problem: problem, Remedy: remedy}
}

// stringList reads an array of strings, or one string with commas or spaces
// between the items.
func stringList(cfg core.Config, key string) ([]string, error) {
	v, ok := cfg.Value(key)
	if !ok {
		return nil, nil
	}
	if s, single := v.(string); single {
		return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\n' }), nil
	}
	items, err := cfg.Strings(key)
	if err != nil {
		return nil, err
	}
	for _, item := range items {
		if strings.TrimSpace(item) == "" {
			return nil, configError(cfg, key, "has an empty item", "remove it")
		}
	}
	return items, nil
}

// ConfigSchema describes what this service reads.
const ConfigSchema = `{
  "type": "object",
  "properties": {
    "backend": {
      "type": "object",
      "properties": {
        "auth": {
          "type": "object",
          "description": "How requests between plugins, and from outside, are authenticated.",
          "properties": {
            "dangerouslyDisableDefaultAuthPolicy": {
              "type": "boolean",
              "description": "Let requests without credentials reach the routes of plugins. Default false."
            },
            "pluginKeyStore": {
              "type": "object",
              "description": "Where the keys come from with which plugins sign their requests to each other.",
              "properties": {
                "type": {
                  "type": "string",
                  "enum": ["database", "static"],
                  "description": "database (default): every process makes keys, uses each for one hour, and publishes the public part in the database of the plugin for three. static: keys of files."
                },
                "static": {
                  "type": "object",
                  "description": "The keys of the type static. They are read at start.",
                  "properties": {
                    "keys": {
                      "type": "array",
                      "minItems": 1,
                      "description": "The key pairs. The first one signs, all are published.",
                      "items": {
                        "type": "object",
                        "required": ["publicKeyFile", "keyId"],
                        "properties": {
                          "publicKeyFile": {"type": "string", "description": "File with the public key, SPKI in PEM."},
                          "privateKeyFile": {"type": "string", "description": "File with the private key, PKCS #8 in PEM. The first key needs it."},
                          "keyId": {"type": "string", "description": "Id of the key, the same in all replicas."},
                          "algorithm": {"type": "string", "description": "JOSE name of the signature algorithm. Default ES256."}
                        }
                      }
                    }
                  }
                }
              }
            },
            "keys": {
              "type": "array",
              "deprecated": "use externalAccess with type legacy",
              "description": "Shared secrets of old backends; each is the same as an externalAccess of type legacy with the subject external:backstage-plugin.",
              "items": {
                "type": "object",
                "required": ["secret"],
                "properties": {
                  "secret": {"type": "string", "visibility": "secret", "description": "The shared secret in base64."}
                }
              }
            },
            "externalAccess": {
              "type": "array",
              "description": "Systems other than plugins and users that may send requests. They are tried in this order. Changes apply without a restart.",
              "items": {
                "type": "object",
                "required": ["type", "options"],
                "properties": {
                  "type": {"type": "string", "description": "static, legacy, jwks, or the name of an added kind of token."},
                  "options": {
                    "type": "object",
                    "description": "What the type needs. Added types have options of their own.",
                    "properties": {
                      "token": {"type": "string", "visibility": "secret", "description": "static: the token; at least 8 characters without spaces."},
                      "subject": {"type": "string", "description": "static, legacy: the name of the caller, without spaces."},
                      "secret": {"type": "string", "visibility": "secret", "description": "legacy: the shared secret in base64."},
                      "url": {"type": "string", "description": "jwks: address of the JSON Web Key Set."},
                      "algorithm": {"type": ["string", "array"], "items": {"type": "string"}, "description": "jwks: accepted signature algorithms. Default: all with a public key."},
                      "issuer": {"type": ["string", "array"], "items": {"type": "string"}, "description": "jwks: accepted issuers. Default: any."},
                      "audience": {"type": ["string", "array"], "items": {"type": "string"}, "description": "jwks: accepted audiences. Default: any."},
                      "subjectPrefix": {"type": "string", "description": "jwks: put between external: and the subject of the token. Default: nothing."}
                    }
                  },
                  "accessRestrictions": {
                    "type": "array",
                    "description": "The only plugins, and there the only permissions, that the caller may use. Default: all.",
                    "items": {
                      "type": "object",
                      "required": ["plugin"],
                      "properties": {
                        "plugin": {"type": "string", "description": "Id of the plugin."},
                        "permission": {"type": ["string", "array"], "items": {"type": "string"}, "description": "Names of the permissions. Default: all."},
                        "permissionAttribute": {
                          "type": "object",
                          "description": "Attributes that the permissions must have.",
                          "properties": {
                            "action": {"type": ["string", "array"], "items": {"type": "string"}, "description": "create, read, update or delete. Default: any."}
                          }
                        }
                      }
                    }
                  }
                }
              }
            }
          }
        }
      }
    }
  }
}`
