// Package gitrepo makes git commits of workspaces and exchanges them with git
// servers over HTTP, for actions of the scaffolder.
//
// An action that publishes a workspace needs only this:
//
//	publisher := &gitrepo.Publisher{Client: client, Defaults: defaults}
//	commit, err := publisher.Publish(ctx, c, gitrepo.Publication{
//		Remote: gitrepo.Remote{URL: "https://github.com/acme/shop.git", Auth: gitrepo.Basic("x-access-token", token)},
//		Branch: "main",
//		Key:    "acme/shop",
//	})
//
// It can run again after a crash at any point: the commit is decided on once
// and kept in a checkpoint, and a push that reached the server is recognised by
// the commit that its branch has. Trees and commits are made without a working
// copy: nothing is written into the workspace, there is no .git in it, and
// links are stored as links, never followed.
//
// For changes on top of what a server has there are the parts: [Client.Fetch],
// [Repo.Checkout], [Repo.AddFolder], [Repo.Change], [Repo.Commit] and
// [Client.Push]. Requests go through the transport of the client, which has to
// guard egress. Credentials are sent in headers only; errors never have them.
package gitrepo
