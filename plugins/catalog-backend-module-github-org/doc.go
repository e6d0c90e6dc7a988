// Package catalogmodulegithuborg brings the members and teams of GitHub
// organizations into the catalog, as entities of the kinds User and Group.
//
//	b.Add(catalogbackend.Plugin, catalogmodulegithuborg.Module)
//
// The smallest configuration:
//
//	catalog:
//	  providers:
//	    githubOrg:
//	      id: production
//	      githubUrl: https://github.com
//	      orgs: [acme]
//
// A task "GithubMultiOrgEntityProvider:production:refresh" reads the
// organizations every three hours. If a module passes webhooks of GitHub on as
// events, the topics github.installation, github.membership,
// github.organization and github.team keep the catalog up to date in between.
//
// Users are in the namespace default. Groups are in a namespace per
// organization, or in default, too, where orgs names exactly one.
//
// What an entity looks like can be changed in Go:
//
//	b.Add(catalogmodulegithuborg.New(catalogmodulegithuborg.WithUsers(
//		func(ctx context.Context, u catalogmodulegithuborg.User) (catalogcommon.Entity, error) {
//			if strings.HasSuffix(u.Login, "-bot") {
//				return nil, nil // not in the catalog
//			}
//			e := catalogmodulegithuborg.DefaultUser(u)
//			e.Metadata()["labels"] = map[string]any{"org": u.Org}
//			return e, nil
//		})))
//
// What the host does not answer is unknown, never gone: a run that cannot read
// everything changes nothing, and one that finds far fewer users or groups
// than the last is refused. [ConfigSchema] has all keys.
package catalogmodulegithuborg
