package catalogmodulegithub

// ConfigSchema describes the configuration keys of the module.
const ConfigSchema = `{
  "$schema": "http://json-schema.org/draft-07/schema#",
  "type": "object",
  "properties": {
    "catalog": {
      "type": "object",
      "properties": {
        "providers": {
          "type": "object",
          "description": "Entity providers, by type.",
          "properties": {
            "github": {
              "type": "object",
              "description": "Discovery of catalog files in GitHub repositories: an object per provider under a name of your choice, or the keys of a single one, which is then named default.",
              "properties": {` + providerSchema + `},
              "additionalProperties": {
                "type": "object",
                "description": "One provider. Its entities are kept under the name github-provider:<name>.",
                "properties": {` + providerSchema + `}
              }
            }
          }
        }
      }
    }
  }
}`

const providerSchema = `
                "organization": { "type": "string", "description": "Login of the organization or user whose repositories are looked at. Required unless app is set." },
                "app": { "type": ["integer", "string"], "description": "appId of a GitHub App below integrations.github: the repositories of all accounts that have installed it are looked at. Required unless organization is set." },
                "host": { "type": "string", "description": "Host of the GitHub integration. Default: github.com." },
                "catalogPath": { "type": "string", "description": "Path of the catalog file in each repository; it may have the wildcards * and **. Default: /catalog-info.yaml." },
                "validateLocationsExist": { "type": "boolean", "description": "Hand in only locations whose file exists. Not possible with wildcards in catalogPath. Default: false; files that are absent are then ignored when they are read." },
                "rejectRemovalsAbovePercentage": { "type": "number", "minimum": 0, "maximum": 100, "description": "Refuse a run that finds so many percent fewer locations than the last one; the catalog keeps what it has. Up to 10 locations may always go, as may any number after these settings were changed. 100 refuses nothing. Default: 50." },
                "filters": {
                  "type": "object",
                  "description": "Which repositories count, and which branch of them.",
                  "properties": {
                    "repository": { "type": "string", "description": "Regular expression (RE2) that the whole name of the repository matches. Default: any." },
                    "branch": { "type": "string", "description": "Branch to read, without slashes. Default: the default branch of each repository." },
                    "allowForks": { "type": "boolean", "description": "Include forks. Default: true." },
                    "allowArchived": { "type": "boolean", "description": "Include archived repositories. Default: false." },
                    "topic": {
                      "type": "object",
                      "description": "Topics of the repository.",
                      "properties": {
                        "include": { "type": "array", "items": { "type": "string" }, "description": "The repository has at least one of these. Default: any." },
                        "exclude": { "type": "array", "items": { "type": "string" }, "description": "The repository has none of these; they go before include. Default: none." }
                      }
                    },
                    "visibility": { "type": "array", "items": { "type": "string", "enum": ["private", "internal", "public"] }, "description": "Visibility of the repository. Default: any." }
                  }
                },
                "pageSizes": {
                  "type": "object",
                  "description": "How much is asked for at a time. Smaller pages are slower, and easier on the host.",
                  "properties": {
                    "repositories": { "type": "integer", "minimum": 1, "maximum": 100, "description": "Repositories per page. Default: 25." }
                  }
                },
                "schedule": {
                  "type": "object",
                  "description": "When the repositories are listed. Default: every 3 hours, with a timeout of 1 hour.",
                  "properties": {
                    "frequency": { "type": ["object", "string"], "description": "A duration ({hours: 3}, PT3H, \"3 hours\"), {cron: expression} or {trigger: manual}." },
                    "timeout": { "type": ["object", "string"], "description": "How long a run may take, as a duration." },
                    "initialDelay": { "type": ["object", "string"], "description": "Time from the start to the first run, as a duration. Default: none." },
                    "scope": { "type": "string", "enum": ["global", "local"], "description": "global: one instance runs it at a time; local: every instance does. Default: global." }
                  }
                }`
