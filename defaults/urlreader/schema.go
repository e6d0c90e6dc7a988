package urlreader

// ConfigSchema describes the configuration that the readers use: the hosts
// below integrations, backend.reading.allow and backend.workingDirectory.
const ConfigSchema = `{
 "type": "object",
 "properties": {
  "backend": {
   "type": "object",
   "description": "Settings of the backend.",
   "properties": {
    "workingDirectory": {
     "type": "string",
     "description": "Directory for temporary files, such as unpacked trees. Default: that of the operating system."
    },
    "reading": {
     "type": "object",
     "description": "What may be read besides the hosts below integrations.",
     "properties": {
      "allow": {
       "type": "array",
       "description": "Addresses that may be read as they are. Naming a host here also allows it to have a private address. Default: none.",
       "items": {
        "type": "object",
        "required": [
         "host"
        ],
        "properties": {
         "host": {
          "type": "string",
          "description": "Host name, *.suffix, and optionally :port or :from-to. Without a port only the default port of the scheme."
         },
         "paths": {
          "type": "array",
          "items": {
           "type": "string"
          },
          "description": "Paths that are open, with what lies below them; with a trailing slash only what lies below. Default: all."
         }
        }
       }
      }
     }
    }
   }
  },
  "integrations": {
   "type": "object",
   "description": "Hosts of source code.",
   "properties": {
    "github": {
     "type": "array",
     "description": "GitHub hosts. github.com is there by default, without credentials.",
     "items": {
      "type": "object",
      "properties": {
       "host": {
        "type": "string",
        "visibility": "frontend",
        "description": "Host name, with a port where it is not the default. Default: github.com."
       },
       "apiBaseUrl": {
        "type": "string",
        "visibility": "frontend",
        "description": "Base URL of the REST API, without a trailing slash. Default for github.com: https://api.github.com; elsewhere this or rawBaseUrl is required."
       },
       "rawBaseUrl": {
        "type": "string",
        "visibility": "frontend",
        "description": "Base URL of raw files, used for reads without credentials. Default for github.com: https://raw.githubusercontent.com."
       },
       "token": {
        "type": "string",
        "visibility": "secret",
        "description": "Personal access token. Default: none."
       },
       "apps": {
        "type": "array",
        "description": "GitHub Apps, asked for credentials before token. Default: none.",
        "items": {
         "type": "object",
         "properties": {
          "appId": {
           "type": [
            "number",
            "string"
           ],
           "description": "App ID from the settings of the app."
          },
          "privateKey": {
           "type": "string",
           "visibility": "secret",
           "description": "RSA private key in PEM. Line ends may be written as \\n."
          },
          "clientId": {
           "type": "string",
           "description": "Client ID of the app."
          },
          "clientSecret": {
           "type": "string",
           "visibility": "secret",
           "description": "Client secret of the app."
          },
          "webhookSecret": {
           "type": "string",
           "visibility": "secret",
           "description": "Secret with which the host signs webhooks. Default: none."
          },
          "allowedInstallationOwners": {
           "type": "array",
           "items": {
            "type": "string"
           },
           "description": "Owners whose installations are used. Default: all."
          },
          "publicAccess": {
           "type": "boolean",
           "description": "Read public repositories of owners without an installation through this app. Default: false."
          }
         },
         "required": [
          "appId",
          "privateKey",
          "clientId",
          "clientSecret"
         ]
        }
       },
       "commitSigningKey": {
        "type": "string",
        "visibility": "secret",
        "description": "PGP key with which commits to this host are signed. Default: commits are not signed."
       }
      }
     }
    },
    "gitlab": {
     "type": "array",
     "description": "GitLab hosts. gitlab.com is there by default, without credentials.",
     "items": {
      "type": "object",
      "properties": {
       "host": {
        "type": "string",
        "visibility": "frontend",
        "description": "Host name, with a port where it is not the default. Default: gitlab.com."
       },
       "apiBaseUrl": {
        "type": "string",
        "visibility": "frontend",
        "description": "Base URL of the API, without a trailing slash. Default for gitlab.com: https://gitlab.com/api/v4; required elsewhere."
       },
       "baseUrl": {
        "type": "string",
        "visibility": "frontend",
        "description": "Base URL of the web interface, with a path where GitLab is installed below one. Default: https://<host>."
       },
       "token": {
        "type": "string",
        "visibility": "secret",
        "description": "Access token. Default: none."
       },
       "commitSigningKey": {
        "type": "string",
        "visibility": "secret",
        "description": "Armored OpenPGP private key without a passphrase, with which steps of the scaffolder sign commits. Default: scaffolder.defaultCommitSigningKey."
       },
       "retry": {
        "type": "object",
        "description": "How requests are limited and repeated.",
        "properties": {
         "maxRetries": {
          "type": "integer",
          "minimum": 0,
          "maximum": 20,
          "description": "How often a read is tried again. Default: 2."
         },
         "retryStatusCodes": {
          "type": "array",
          "items": {
           "type": "integer"
          },
          "description": "HTTP statuses that are worth a retry, besides 429 and 5xx. Default: none."
         },
         "maxApiRequestsPerMinute": {
          "type": "integer",
          "description": "Requests per minute to this host; 0 or less is no limit. Default: 0."
         }
        }
       },
       "commitSigningKey": {
        "type": "string",
        "visibility": "secret",
        "description": "PGP key with which commits to this host are signed. Default: commits are not signed."
       }
      }
     }
    },
    "bitbucketCloud": {
     "type": "array",
     "description": "Credentials for bitbucket.org.",
     "items": {
      "type": "object",
      "properties": {
       "username": {
        "type": "string",
        "description": "User name, with token or appPassword. Default: none."
       },
       "token": {
        "type": "string",
        "visibility": "secret",
        "description": "API token. Default: none."
       },
       "appPassword": {
        "type": "string",
        "visibility": "secret",
        "description": "App password. Default: none."
       },
       "clientId": {
        "type": "string",
        "description": "OAuth client ID, instead of username. Default: none."
       },
       "clientSecret": {
        "type": "string",
        "visibility": "secret",
        "description": "OAuth client secret. Default: none."
       },
       "commitSigningKey": {
        "type": "string",
        "visibility": "secret",
        "description": "PGP key with which commits to this host are signed. Default: commits are not signed."
       }
      }
     }
    },
    "bitbucketServer": {
     "type": "array",
     "description": "Bitbucket Server and Data Center hosts.",
     "items": {
      "type": "object",
      "properties": {
       "host": {
        "type": "string",
        "visibility": "frontend",
        "description": "Host name, with a port where it is not the default."
       },
       "apiBaseUrl": {
        "type": "string",
        "visibility": "frontend",
        "description": "Base URL of the REST API. Default: https://<host>/rest/api/1.0."
       },
       "token": {
        "type": "string",
        "visibility": "secret",
        "description": "Access token. Default: none."
       },
       "username": {
        "type": "string",
        "description": "User name, instead of token. Default: none."
       },
       "password": {
        "type": "string",
        "visibility": "secret",
        "description": "Password of the user. Default: none."
       },
       "commitSigningKey": {
        "type": "string",
        "visibility": "secret",
        "description": "PGP key with which commits to this host are signed. Default: commits are not signed."
       }
      },
      "required": [
       "host"
      ]
     }
    },
    "azure": {
     "type": "array",
     "description": "Azure DevOps hosts. dev.azure.com is there by default, without credentials.",
     "items": {
      "type": "object",
      "properties": {
       "host": {
        "type": "string",
        "visibility": "frontend",
        "description": "Host name. Default: dev.azure.com."
       },
       "credentials": {
        "type": "array",
        "description": "Credentials per organization. Default: none.",
        "items": {
         "type": "object",
         "properties": {
          "organizations": {
           "type": "array",
           "items": {
            "type": "string"
           },
           "description": "Organizations for which this is used. Default: those that no other entry names."
          },
          "personalAccessToken": {
           "type": "string",
           "visibility": "secret",
           "description": "Personal access token. Default: none."
          },
          "clientId": {
           "type": "string",
           "description": "Client ID of a service principal or managed identity. Default: none."
          },
          "tenantId": {
           "type": "string",
           "description": "Tenant of the client. Default: none."
          },
          "clientSecret": {
           "type": "string",
           "visibility": "secret",
           "description": "Secret of the service principal. Default: none."
          },
          "managedIdentityClientId": {
           "type": "string",
           "description": "Managed identity that vouches for the client. Default: none."
          }
         }
        }
       },
       "commitSigningKey": {
        "type": "string",
        "visibility": "secret",
        "description": "PGP key with which commits to this host are signed. Default: commits are not signed."
       }
      }
     }
    },
    "gerrit": {
     "type": "array",
     "description": "Gerrit hosts.",
     "items": {
      "type": "object",
      "properties": {
       "host": {
        "type": "string",
        "visibility": "frontend",
        "description": "Host name, with a port where it is not the default."
       },
       "baseUrl": {
        "type": "string",
        "visibility": "frontend",
        "description": "Base URL of Gerrit. Default: https://<host>."
       },
       "gitilesBaseUrl": {
        "type": "string",
        "visibility": "frontend",
        "description": "Base URL of Gitiles."
       },
       "cloneUrl": {
        "type": "string",
        "visibility": "frontend",
        "description": "Base URL of clones. Default: baseUrl."
       },
       "username": {
        "type": "string",
        "description": "User name. Default: none."
       },
       "password": {
        "type": "string",
        "visibility": "secret",
        "description": "HTTP password. Default: none."
       },
       "commitSigningKey": {
        "type": "string",
        "visibility": "secret",
        "description": "PGP key with which commits to this host are signed. Default: commits are not signed."
       }
      },
      "required": [
       "host",
       "gitilesBaseUrl"
      ]
     }
    },
    "gitea": {
     "type": "array",
     "description": "Gitea and Forgejo hosts.",
     "items": {
      "type": "object",
      "properties": {
       "host": {
        "type": "string",
        "visibility": "frontend",
        "description": "Host name, with a port where it is not the default."
       },
       "baseUrl": {
        "type": "string",
        "visibility": "frontend",
        "description": "Base URL. Default: https://<host>."
       },
       "commitSigningKey": {
        "type": "string",
        "visibility": "secret",
        "description": "Armored OpenPGP private key without a passphrase, with which steps of the scaffolder sign commits. Default: scaffolder.defaultCommitSigningKey."
       },
       "username": {
        "type": "string",
        "description": "User name; without it, password is a token. Default: none."
       },
       "password": {
        "type": "string",
        "visibility": "secret",
        "description": "Password or token. Default: none."
       },
       "commitSigningKey": {
        "type": "string",
        "visibility": "secret",
        "description": "PGP key with which commits to this host are signed. Default: commits are not signed."
       }
      },
      "required": [
       "host"
      ]
     }
    },
    "harness": {
     "type": "array",
     "description": "Harness Code hosts.",
     "items": {
      "type": "object",
      "properties": {
       "host": {
        "type": "string",
        "visibility": "frontend",
        "description": "Host name."
       },
       "token": {
        "type": "string",
        "visibility": "secret",
        "description": "Bearer token. Default: none."
       },
       "apiKey": {
        "type": "string",
        "visibility": "secret",
        "description": "API key, instead of token. Default: none."
       }
      },
      "required": [
       "host"
      ]
     }
    },
    "awsS3": {
     "type": "array",
     "description": "S3 stores. It is used by an added URL reader; there is no built-in one.",
     "items": {
      "type": "object",
      "properties": {
       "endpoint": {
        "type": "string",
        "description": "Endpoint of a store that is not Amazon's. Default: https://amazonaws.com."
       },
       "s3ForcePathStyle": {
        "type": "boolean",
        "description": "Put the bucket into the path instead of the host name. Default: false."
       },
       "accessKeyId": {
        "type": "string",
        "description": "Access key ID. Default: the chain of AWS."
       },
       "secretAccessKey": {
        "type": "string",
        "visibility": "secret",
        "description": "Secret access key. Default: the chain of AWS."
       },
       "roleArn": {
        "type": "string",
        "description": "Role to assume. Default: none."
       },
       "externalId": {
        "type": "string",
        "description": "External ID for the role. Default: none."
       }
      }
     }
    },
    "awsCodeCommit": {
     "type": "array",
     "description": "AWS CodeCommit. It is used by an added URL reader; there is no built-in one.",
     "items": {
      "type": "object",
      "properties": {
       "region": {
        "type": "string",
        "description": "AWS region."
       },
       "accessKeyId": {
        "type": "string",
        "description": "Access key ID. Default: the chain of AWS."
       },
       "secretAccessKey": {
        "type": "string",
        "visibility": "secret",
        "description": "Secret access key. Default: the chain of AWS."
       },
       "roleArn": {
        "type": "string",
        "description": "Role to assume. Default: none."
       },
       "externalId": {
        "type": "string",
        "description": "External ID for the role. Default: none."
       }
      }
     }
    },
    "azureBlobStorage": {
     "type": "array",
     "description": "Azure Blob Storage accounts. It is used by an added URL reader; there is no built-in one.",
     "items": {
      "type": "object",
      "properties": {
       "accountName": {
        "type": "string",
        "description": "Name of the account."
       },
       "accountKey": {
        "type": "string",
        "visibility": "secret",
        "description": "Key of the account. Default: none."
       },
       "sasToken": {
        "type": "string",
        "visibility": "secret",
        "description": "Shared access signature. Default: none."
       },
       "connectionString": {
        "type": "string",
        "visibility": "secret",
        "description": "Connection string. Default: none."
       },
       "endpoint": {
        "type": "string",
        "description": "Endpoint. Default: that of the account."
       },
       "endpointSuffix": {
        "type": "string",
        "description": "Suffix of the endpoint. Default: core.windows.net."
       },
       "host": {
        "type": "string",
        "description": "Host name. Default: blob.core.windows.net."
       },
       "aadCredential": {
        "type": "object",
        "description": "Service principal. Default: none.",
        "properties": {
         "clientId": {
          "type": "string",
          "description": "Client ID."
         },
         "tenantId": {
          "type": "string",
          "description": "Tenant of the client."
         },
         "clientSecret": {
          "type": "string",
          "visibility": "secret",
          "description": "Secret of the client."
         }
        }
       }
      }
     }
    },
    "googleGcs": {
     "type": "object",
     "description": "Google Cloud Storage. It is used by an added URL reader; there is no built-in one.",
     "properties": {
      "clientEmail": {
       "type": "string",
       "description": "Service account. Default: that of the environment."
      },
      "privateKey": {
       "type": "string",
       "visibility": "secret",
       "description": "Private key of the service account. Default: that of the environment."
      }
     }
    }
   }
  }
 }
}`
