package scaffoldermodulegitlab

import (
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/scaffolder-node/gitrepo"
)

// settings are what the module reads from the configuration once.
type settings struct {
	userTokens bool
	commits    gitrepo.Defaults
}

func readSettings(c core.Config) (s settings, err error) {
	if s.userTokens, err = c.BoolOr("scaffolder.requireScmUserCredentials", false); err != nil {
		return s, err
	}
	s.commits, err = gitrepo.ReadDefaults(c)
	return s, err
}
