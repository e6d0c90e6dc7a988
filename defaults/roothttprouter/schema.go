package roothttprouter

// ConfigSchema is the JSON Schema of the configuration that the server reads,
// with that of the rate limits, which it shares with the routers of plugins.
const ConfigSchema = `{
  "$schema": "http://json-schema.org/draft-07/schema#",
  "type": "object",
  "properties": {
    "backend": {
      "type": "object",
      "properties": {
        "listen": {
          "description": "Where the server listens: a port, host:port, :port, or an object with host and port. Default: port 7007 on all addresses.",
          "anyOf": [
            {"type": ["string", "number"]},
            {
              "type": "object",
              "properties": {
                "host": {"type": "string", "description": "Host name or address. Default: all addresses."},
                "port": {"type": ["number", "string"], "description": "Port from 0 to 65535; 0 takes a free one. Default: 7007."}
              }
            }
          ]
        },
        "https": {
          "description": "Serves HTTPS. true makes a self-signed certificate for the host of backend.baseUrl, good for development. Default: plain HTTP.",
          "anyOf": [
            {"type": "boolean"},
            {
              "type": "object",
              "properties": {
                "certificate": {
                  "type": "object",
                  "description": "The certificate; it is read again when the configuration or a file that it includes changes.",
                  "required": ["cert", "key"],
                  "properties": {
                    "cert": {"type": "string", "description": "Certificate chain as PEM text, usually with $file."},
                    "key": {"type": "string", "visibility": "secret", "description": "Private key as PEM text, usually with $file."}
                  }
                }
              }
            }
          ]
        },
        "server": {
          "type": "object",
          "description": "Limits of the HTTP server. Times are numbers of milliseconds or durations such as 5s; one that cannot be read is ignored with a warning.",
          "properties": {
            "headersTimeout": {"type": ["number", "string", "object"], "description": "Time to receive the head of a request. Default: 60 seconds."},
            "requestTimeout": {"type": ["number", "string", "object"], "description": "Time to receive the body of a request; 0 is no limit. Default: 300 seconds."},
            "keepAliveTimeout": {"type": ["number", "string", "object"], "description": "How long a connection waits for its next request. Set it above that of a load balancer. Default: 5 seconds."},
            "timeout": {"type": ["number", "string", "object"], "description": "How long a client may take no data of an answer; 0 is no limit. Default: 0."},
            "maxHeadersCount": {"type": "number", "description": "Largest number of header fields of a request; 0 is no limit besides the size of 1 MiB. Default: 0."},
            "maxRequestsPerSocket": {"type": "number", "description": "Requests after which a connection is closed; 0 is no limit. Default: 0."}
          }
        },
        "trustProxy": {
          "description": "Whose X-Forwarded headers tell address, host and protocol of the client: true for everybody's, a number of proxies, or addresses and ranges (loopback, linklocal, uniquelocal, CIDR), comma separated or as an array. Default: nobody's.",
          "anyOf": [{"type": ["boolean", "number", "string"]}, {"type": "array", "items": {"type": "string"}}]
        },
        "lifecycle": {
          "type": "object",
          "properties": {
            "serverShutdownDelay": {"type": ["string", "object"], "description": "How long the server goes on after the stop began, while readiness answers 503 and load balancers turn away. A duration such as 10s. Default: 0."}
          }
        },
        "csp": {
          "type": "object",
          "description": "Directives of the Content-Security-Policy header that replace or extend the defaults; false leaves one out.",
          "additionalProperties": {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "boolean", "const": false}, {"type": "null"}]}
        },
        "referrer": {
          "type": "object",
          "properties": {
            "policy": {"type": "array", "items": {"type": "string"}, "description": "Values of the Referrer-Policy header. Default: no-referrer."}
          }
        },
        "cors": {
          "type": "object",
          "description": "Access for pages of other origins. Without this key there is none.",
          "properties": {
            "origin": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}], "description": "Allowed origins, as patterns in which * stands for anything but a slash. Default: every origin, without credentials."},
            "methods": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}], "description": "Allowed methods. Default: GET,HEAD,PUT,PATCH,POST,DELETE."},
            "allowedHeaders": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}], "description": "Allowed request headers. Default: those that the browser asks for."},
            "exposedHeaders": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}], "description": "Response headers that pages may read besides the simple ones. Default: none."},
            "credentials": {"type": "boolean", "description": "Lets pages send cookies and authorization. Default: false."},
            "maxAge": {"type": "number", "description": "Seconds for which browsers keep the answer to a preflight. Default: left to the browser."},
            "preflightContinue": {"type": "boolean", "description": "Passes preflights on to the routes. Default: false."},
            "optionsSuccessStatus": {"type": "number", "description": "Status of the answer to a preflight. Default: 204."}
          }
        },
        "health": {
          "type": "object",
          "properties": {
            "headers": {"type": "object", "additionalProperties": {"type": "string", "minLength": 1}, "description": "Headers that the answers of the health routes have in addition."},
            "detail": {"enum": ["off", "loopback", "public"], "description": "Who may read /.backstage/health/v1/detail, the state of each plugin and check: requests from this machine that no proxy passed on, everybody, or nobody (off). Default: loopback."}
          }
        },
        "rateLimit": {
          "description": "Bounds the requests of a client address. true sets the defaults. Default: no limit.",
          "anyOf": [
            {"type": "boolean"},
            {
              "type": "object",
              "properties": {` + rateLimitProperties + `,
                "global": {"type": "boolean", "description": "Applies the limit to all requests; false leaves those of the plugins. Default: true."},
                "store": {
                  "type": "object",
                  "description": "Where requests are counted.",
                  "properties": {
                    "type": {"enum": ["memory", "redis"], "description": "memory counts per process, redis for all instances. Default: memory."},
                    "connection": {"type": "string", "visibility": "secret", "description": "URL of the Redis server, redis://user:password@host:6379."}
                  }
                },
                "plugin": {
                  "type": "object",
                  "description": "Limits per plugin, in addition to the global one: true for the defaults, or an object.",
                  "additionalProperties": {"anyOf": [{"type": "boolean"}, {"type": "object", "properties": {` + rateLimitProperties + `}}]}
                }
              }
            }
          ]
        }
      }
    }
  }
}`

// rateLimitProperties are those of each level of backend.rateLimit.
const rateLimitProperties = `
"window": {"type": ["string", "object"], "description": "Length of a window, as a duration. Default: 1 minute."},
"incomingRequestLimit": {"type": "number", "description": "Requests of an address per window. Default: 5."},
"ipAllowList": {"type": "array", "items": {"type": "string"}, "description": "Addresses and CIDR ranges without a limit. Default: 127.0.0.1 and ::1."},
"skipSuccessfulRequests": {"type": "boolean", "description": "Does not count requests with a status below 400. Default: false."},
"skipFailedRequests": {"type": "boolean", "description": "Does not count requests with a status from 400 on. Default: false."},
"passOnStoreError": {"type": "boolean", "description": "Lets requests pass when the store fails, instead of answering 500. Default: false."}`
