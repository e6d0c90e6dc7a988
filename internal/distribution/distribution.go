// Package distribution lists what the standard backend consists of. It is the
// only package beside main packages that may import plugins: cmd/flytower and
// conformance/backend share it.
package distribution

import (
	_ "embed"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/command"
	"github.com/flytower/flytower/defaults/telemetry/otlp"
	"github.com/flytower/flytower/internal/exampledata"
	appbackend "github.com/flytower/flytower/plugins/app-backend"
	authbackend "github.com/flytower/flytower/plugins/auth-backend"
	authmodulegithubprovider "github.com/flytower/flytower/plugins/auth-backend-module-github-provider"
	authmodulegitlabprovider "github.com/flytower/flytower/plugins/auth-backend-module-gitlab-provider"
	authmodulegoogleprovider "github.com/flytower/flytower/plugins/auth-backend-module-google-provider"
	authmoduleguestprovider "github.com/flytower/flytower/plugins/auth-backend-module-guest-provider"
	authmodulemicrosoftprovider "github.com/flytower/flytower/plugins/auth-backend-module-microsoft-provider"
	authmoduleoauth2provider "github.com/flytower/flytower/plugins/auth-backend-module-oauth2-provider"
	authmoduleoauth2proxyprovider "github.com/flytower/flytower/plugins/auth-backend-module-oauth2-proxy-provider"
	authmoduleoidcprovider "github.com/flytower/flytower/plugins/auth-backend-module-oidc-provider"
	authmoduleoktaprovider "github.com/flytower/flytower/plugins/auth-backend-module-okta-provider"
	catalogbackend "github.com/flytower/flytower/plugins/catalog-backend"
	catalogmodulegithub "github.com/flytower/flytower/plugins/catalog-backend-module-github"
	catalogmodulegithuborg "github.com/flytower/flytower/plugins/catalog-backend-module-github-org"
	catalogmodulelogs "github.com/flytower/flytower/plugins/catalog-backend-module-logs"
	catalogmoduleopenapi "github.com/flytower/flytower/plugins/catalog-backend-module-openapi"
	catalogmodulescaffolderentitymodel "github.com/flytower/flytower/plugins/catalog-backend-module-scaffolder-entity-model"
	catalogmoduleunprocessed "github.com/flytower/flytower/plugins/catalog-backend-module-unprocessed"
	gatewaybackend "github.com/flytower/flytower/plugins/gateway-backend"
	permissionbackend "github.com/flytower/flytower/plugins/permission-backend"
	permissionmoduleallowallpolicy "github.com/flytower/flytower/plugins/permission-backend-module-allow-all-policy"
	permissionmoduledeclarativepolicy "github.com/flytower/flytower/plugins/permission-backend-module-declarative-policy"
	scaffolderbackend "github.com/flytower/flytower/plugins/scaffolder-backend"
	scaffoldermodulegitea "github.com/flytower/flytower/plugins/scaffolder-backend-module-gitea"
	scaffoldermodulegithub "github.com/flytower/flytower/plugins/scaffolder-backend-module-github"
	scaffoldermodulegitlab "github.com/flytower/flytower/plugins/scaffolder-backend-module-gitlab"
	scaffoldermoduleutils "github.com/flytower/flytower/plugins/scaffolder-backend-module-utils"
	scaffoldermoduleworkspacedatabase "github.com/flytower/flytower/plugins/scaffolder-backend-module-workspace-database"
	scaffoldermoduleworkspacedirectory "github.com/flytower/flytower/plugins/scaffolder-backend-module-workspace-directory"
	scaffoldermoduleworkspaces3 "github.com/flytower/flytower/plugins/scaffolder-backend-module-workspace-s3"
)

// Features returns the plugins and modules of the standard backend.
func Features() []backend.Feature {
	return []backend.Feature{
		appbackend.Plugin, // if there is a frontend to serve
		authbackend.Plugin,
		authmoduleguestprovider.Module, // a provider signs in where auth.providers has it
		authmodulegithubprovider.Module,
		authmodulegitlabprovider.Module,
		authmodulegoogleprovider.Module,
		authmodulemicrosoftprovider.Module,
		authmoduleoauth2provider.Module,
		authmoduleoauth2proxyprovider.Module,
		authmoduleoidcprovider.Module,
		authmoduleoktaprovider.Module,
		catalogbackend.Plugin,
		catalogmodulegithub.Module,
		catalogmodulegithuborg.Module,
		catalogmodulelogs.Module,
		catalogmoduleopenapi.Module,
		catalogmodulescaffolderentitymodel.Module,
		catalogmoduleunprocessed.Module,
		gatewaybackend.Plugin,
		permissionbackend.Plugin,
		permissionmoduleallowallpolicy.Module,
		permissionmoduledeclarativepolicy.Module, // if permission.policy is configured
		scaffolderbackend.Plugin,
		scaffoldermodulegitea.Module,
		scaffoldermodulegithub.Module,
		scaffoldermodulegitlab.Module,
		scaffoldermoduleutils.Module,
		scaffoldermoduleworkspacedatabase.Module,
		scaffoldermoduleworkspacedirectory.Module,
		scaffoldermoduleworkspaces3.Module,
		otlp.Factory, // exports traces where OTEL_EXPORTER_OTLP_ENDPOINT says
	}
}

//go:embed app-config.example.yaml
var exampleConfig string

// Example returns the configuration and the data that the backend starts with
// where there is no configuration.
func Example() *command.Example {
	return &command.Example{
		Config:   exampleConfig,
		Features: []backend.Feature{exampledata.Module},
		Notice: `There is no app-config.yaml here: starting with an example configuration and
example data in memory. Nothing is kept when it stops. Try:

  curl -H 'Authorization: Bearer flytower-example' http://127.0.0.1:7007/api/catalog/entities?filter=kind=component

or open http://127.0.0.1:7007/ in a browser.
`,
	}
}
