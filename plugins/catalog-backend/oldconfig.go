package catalogbackend

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/flytower/flytower/core"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// skipProcessorsCheck is the environment variable that turns the check for
// processors of discovery locations off.
const skipProcessorsCheck = "BACKSTAGE_CATALOG_SKIP_MISSING_PROCESSORS_CHECK"

// retiredKeys configured hosts before there were integrations. Nothing reads
// them, which nobody would notice.
var retiredKeys = map[string]string{
	"catalog.processors.github":       "integrations.github",
	"catalog.processors.gitlabApi":    "integrations.gitlab",
	"catalog.processors.bitbucketApi": "integrations.bitbucketCloud or integrations.bitbucketServer",
	"catalog.processors.azureApi":     "integrations.azure",
}

// discoveryTypes are types of locations that a processor of a module reads,
// with its name and what replaced it.
var discoveryTypes = map[string][2]string{
	"aws-cloud-accounts":  {"AwsOrganizationCloudAccountProcessor", "catalog.providers.awsOrganization"},
	"s3-discovery":        {"AwsS3DiscoveryProcessor", "catalog.providers.awsS3"},
	"azure-discovery":     {"AzureDevOpsDiscoveryProcessor", "catalog.providers.azureDevOps"},
	"bitbucket-discovery": {"BitbucketDiscoveryProcessor", "catalog.providers.bitbucketCloud or catalog.providers.bitbucketServer"},
	"github-discovery":    {"GithubDiscoveryProcessor", "catalog.providers.github"},
	"github-org":          {"GithubOrgReaderProcessor", "catalog.providers.githubOrg"},
	"gitlab-discovery":    {"GitLabDiscoveryProcessor", "catalog.providers.gitlab"},
	"ldap-org":            {"LdapOrgReaderProcessor", "catalog.providers.ldapOrg"},
	"microsoft-graph-org": {"MicrosoftGraphOrgReaderProcessor", "catalog.providers.microsoftGraphOrg"},
}

// checkOldConfig reports what in the configuration would have no effect:
// retired keys and, unless skip is set, locations to discover others by whose
// processor is not installed.
func checkOldConfig(c core.Config, chain []catalognode.Processor, skip bool) error {
	var wrong []*core.ConfigError
	for key, now := range retiredKeys {
		if c.Has(key) {
			wrong = append(wrong, &core.ConfigError{Key: c.Path(key), Position: c.Position(key), Problem: "is deprecated and has no effect", Remedy: "configure the host at " + now})
		}
	}
	if !skip {
		list, err := c.List("catalog.locations")
		if err != nil {
			return err
		}
		for _, l := range list {
			typ, err := l.StringOr("type", "")
			if err != nil {
				return err
			}
			d, known := discoveryTypes[typ]
			if !known || slices.ContainsFunc(chain, func(p catalognode.Processor) bool { return p.ProcessorName() == d[0] }) {
				continue
			}
			wrong = append(wrong, &core.ConfigError{
				Key: l.Path("type"), Position: l.Position("type"), Problem: fmt.Sprintf("is %s, which is read by the processor %s that is not installed", typ, d[0]),
				Remedy: fmt.Sprintf("install the module that has it, or remove the location and configure %s; %s=1 skips this check", d[1], skipProcessorsCheck),
			})
		}
	}
	slices.SortFunc(wrong, func(a, b *core.ConfigError) int { return cmp.Compare(a.Key, b.Key) })
	errs := make([]error, len(wrong))
	for i, w := range wrong {
		errs[i] = w
	}
	return errors.Join(errs...)
}

// isSet reports whether an environment variable says yes.
func isSet(value string) bool {
	return !slices.Contains([]string{"", "0", "false", "no"}, strings.ToLower(strings.TrimSpace(value)))
}
