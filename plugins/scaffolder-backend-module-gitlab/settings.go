package scaffoldermodulegitlab

import (
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/integration"
	"github.com/flytower/flytower/plugins/scaffolder-node/gitrepo"
)

// settings are what the module reads from the configuration, whenever that
// changes.
type settings struct {
	hosts      *integration.Hosts
	commits    gitrepo.Defaults
	userTokens bool
}

func readSettings(c core.Config) (s settings, err error) {
	if s.hosts, err = integration.FromConfig(c); err != nil {
		return s, err
	}
	if s.commits, err = gitrepo.ReadDefaults(c); err != nil {
		return s, err
	}
	s.userTokens, err = c.BoolOr("scaffolder.requireScmUserCredentials", false)
	return s, err
}
