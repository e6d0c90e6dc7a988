package catalogmodulegithuborg

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
            "githubOrg": {
              "description": "Users and groups of GitHub organizations: one provider, or an array of them.",
              "anyOf": [
                ` + providerSchema + `,
                { "type": "array", "items": ` + providerSchema + ` }
              ]
            }
          }
        }
      }
    }
  }
}`

const providerSchema = `{
                  "type": "object",
                  "required": ["id", "githubUrl"],
                  "properties": {
                    "id": { "type": "string", "description": "Name of your choice. The entities are kept under GithubMultiOrgEntityProvider:<id>." },
                    "githubUrl": { "type": "string", "description": "Address of the host, such as https://github.com." },
                    "orgs": { "type": "array", "items": { "type": "string" }, "description": "Logins of the organizations. With exactly one, its groups are in the namespace default. Default: all organizations that have installed a GitHub App below integrations.github." },
                    "excludeSuspendedUsers": { "type": "boolean", "description": "Leave suspended users out; only GitHub Enterprise knows them. Default: false." },
                    "rejectRemovalsAbovePercentage": { "type": "number", "minimum": 0, "maximum": 100, "description": "Refuse a run that finds so many percent fewer users, or groups, than the last one; the catalog keeps what it has. Up to 10 of a kind may always go, as may any number after these settings were changed. 100 refuses nothing. Default: 50." },
                    "defaultUserTransformer": {
                      "type": "object",
                      "description": "How users become entities.",
                      "properties": {
                        "useVerifiedEmails": { "type": "boolean", "description": "Prefer an address in a verified domain of the organization to the public one. Default: false." }
                      }
                    },
                    "pageSizes": {
                      "type": "object",
                      "description": "How much is asked for at a time. Smaller pages are slower, and easier on the host.",
                      "properties": {
                        "teams": { "type": "integer", "minimum": 1, "maximum": 100, "description": "Teams per page. Default: 25." },
                        "teamMembers": { "type": "integer", "minimum": 1, "maximum": 100, "description": "Members of a team per page. Default: 50." },
                        "organizationMembers": { "type": "integer", "minimum": 1, "maximum": 100, "description": "Members of an organization per page. Default: 50." }
                      }
                    },
                    "schedule": {
                      "type": "object",
                      "description": "When the organizations are read. Default: every 3 hours, with a timeout of 1 hour.",
                      "properties": {
                        "frequency": { "type": ["object", "string"], "description": "A duration ({hours: 3}, PT3H, \"3 hours\"), {cron: expression} or {trigger: manual}." },
                        "timeout": { "type": ["object", "string"], "description": "How long a run may take, as a duration." },
                        "initialDelay": { "type": ["object", "string"], "description": "Time from the start to the first run, as a duration. Default: none." },
                        "scope": { "type": "string", "enum": ["global", "local"], "description": "global: one instance runs it at a time; local: every instance does. Default: global." }
                      }
                    }
                  }
                }`
