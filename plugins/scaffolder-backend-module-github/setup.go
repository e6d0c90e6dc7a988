package scaffoldermodulegithub

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/flytower/flytower/integration/githubapi"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

type autolinkInput struct {
	target
	KeyPrefix      string `json:"keyPrefix" description:"What references begin with, as in SHOP-"`
	URLTemplate    string `json:"urlTemplate" description:"The address that they lead to, with <num> in it"`
	IsAlphanumeric *bool  `json:"isAlphanumeric,omitempty" description:"Whether references may have letters behind the prefix. Default: true, that of GitHub"`
}

// autolink is an autolink as the host has it.
type autolink struct {
	KeyPrefix   string `json:"key_prefix"`
	URLTemplate string `json:"url_template"`
}

func (p Parts) createAutolink() scaffoldernode.Action {
	return scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: "github:autolinks:create", Description: "Makes references in a repository at GitHub lead elsewhere.",
		Examples: []scaffoldernode.ActionExample{example("Tickets", `steps:
  - id: tickets
    action: github:autolinks:create
    input:
      repoUrl: github.com?repo=shop&owner=acme
      keyPrefix: SHOP-
      urlTemplate: https://tickets.example.com/SHOP-<num>
`)},
	}, func(ctx context.Context, c *scaffoldernode.ActionContext, in autolinkInput) (out struct{}, err error) {
		r, err := p.repository(ctx, in.target)
		if err != nil {
			return out, err
		}
		wanted := autolink{in.KeyPrefix, in.URLTemplate}
		body := map[string]any{"key_prefix": in.KeyPrefix, "url_template": in.URLTemplate}
		if in.IsAlphanumeric != nil {
			body["is_alphanumeric"] = *in.IsAlphanumeric
		}
		_, err = ensure(ctx, p, func(ctx context.Context) (_ bool, found bool, err error) {
			err = each(ctx, r, r.path("autolinks"), url.Values{}, func(page *[]autolink) bool {
				for _, one := range *page {
					found = found || one == wanted
				}
				return !found
			})
			return true, found, err
		}, func(ctx context.Context) (bool, error) {
			return true, r.post(ctx, body, nil, "autolinks")
		})
		if err != nil {
			return out, fmt.Errorf("create the autolink %s: %w", in.KeyPrefix, err)
		}
		c.Logger.Info("References that begin with " + in.KeyPrefix + " are links now")
		return out, nil
	})
}

type deployKeyInput struct {
	target
	PublicKey            string `json:"publicKey" description:"The public key, as ssh-keygen writes it"`
	PrivateKey           string `json:"privateKey" description:"The private key, which becomes a secret of the repository"`
	DeployKeyName        string `json:"deployKeyName" description:"The name of the key"`
	PrivateKeySecretName string `json:"privateKeySecretName,omitempty" description:"The name of the secret. Default: that of the key in upper case, with underscores and _PRIVATE_KEY"`
}

type deployKeyOutput struct {
	PrivateKeySecretName string `json:"privateKeySecretName" description:"The name of the secret with the private key"`
}

func (p Parts) createDeployKey() scaffoldernode.Action {
	return scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: "github:deployKey:create", Description: "Adds a key for deployments to a repository at GitHub, and its private part as a secret.",
		Examples: []scaffoldernode.ActionExample{example("A key", `steps:
  - id: key
    action: github:deployKey:create
    input:
      repoUrl: github.com?repo=shop&owner=acme
      publicKey: ${{ parameters.publicKey }}
      privateKey: ${{ secrets.privateKey }}
      deployKeyName: Push releases
`)},
	}, func(ctx context.Context, c *scaffoldernode.ActionContext, in deployKeyInput) (out deployKeyOutput, err error) {
		r, err := p.repository(ctx, in.target)
		if err != nil {
			return out, err
		}
		out.PrivateKeySecretName = or(in.PrivateKeySecretName, strings.ToUpper(strings.ReplaceAll(in.DeployKeyName, " ", "_"))+"_PRIVATE_KEY")
		_, err = ensure(ctx, p, func(ctx context.Context) (_ bool, found bool, err error) {
			err = each(ctx, r, r.path("keys"), url.Values{}, func(page *[]struct {
				Key string `json:"key"`
			},
			) bool {
				for _, one := range *page {
					found = found || keyMaterial(one.Key) == keyMaterial(in.PublicKey)
				}
				return !found
			})
			return true, found, err
		}, func(ctx context.Context) (bool, error) {
			return true, r.post(ctx, map[string]any{"title": in.DeployKeyName, "key": in.PublicKey}, nil, "keys")
		})
		if err != nil {
			return out, fmt.Errorf("create the deploy key %s: %w", in.DeployKeyName, err)
		}
		return out, r.setSecrets(ctx, r.path("actions", "secrets"), map[string]string{out.PrivateKeySecretName: in.PrivateKey})
	})
}

// keyMaterial is a public key without its comment.
func keyMaterial(key string) string {
	fields := strings.Fields(key)
	return strings.Join(fields[:min(len(fields), 2)], " ")
}

type pagesInput struct {
	target
	BuildType    string `json:"buildType,omitempty" enum:"legacy,workflow" description:"How pages are built: from a branch (legacy), or by a workflow. Default: workflow"`
	SourceBranch string `json:"sourceBranch,omitempty" description:"The branch with the pages. Default: main"`
	SourcePath   string `json:"sourcePath,omitempty" enum:"/,/docs" description:"The folder with the pages. Default: /"`
}

type pages struct {
	BuildType string `json:"build_type"`
	Source    struct {
		Branch string `json:"branch"`
		Path   string `json:"path"`
	} `json:"source"`
}

func (p Parts) enablePages() scaffoldernode.Action {
	return scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: "github:pages:enable", Description: "Gives a repository at GitHub pages.",
		Examples: []scaffoldernode.ActionExample{example("Pages from a folder", `steps:
  - id: pages
    action: github:pages:enable
    input:
      repoUrl: github.com?repo=shop&owner=acme
      buildType: legacy
      sourcePath: /docs
`)},
	}, func(ctx context.Context, c *scaffoldernode.ActionContext, in pagesInput) (out struct{}, err error) {
		r, err := p.repository(ctx, in.target)
		if err != nil {
			return out, err
		}
		wanted := pages{BuildType: or(in.BuildType, "workflow")}
		wanted.Source.Branch, wanted.Source.Path = or(in.SourceBranch, "main"), or(in.SourcePath, "/")
		_, err = ensure(ctx, p, func(ctx context.Context) (bool, bool, error) {
			var found pages
			err := r.get(ctx, &found, "pages")
			if status(err) == http.StatusNotFound {
				return false, false, nil
			}
			// other pages are for the host to refuse
			return true, err == nil && found == wanted, err
		}, func(ctx context.Context) (bool, error) {
			return true, r.post(ctx, wanted, nil, "pages")
		})
		if err != nil {
			return out, fmt.Errorf("enable pages of %s: %w", r.slug(), err)
		}
		c.Logger.Info("Pages are enabled for " + r.slug())
		return out, nil
	})
}

type webhookInput struct {
	target
	WebhookURL    string   `json:"webhookUrl" description:"Where GitHub sends events to"`
	WebhookSecret string   `json:"webhookSecret,omitempty" description:"The secret that events are signed with"`
	Events        []string `json:"events,omitempty" description:"The events, or * for all. Default: push"`
	Active        *bool    `json:"active,omitempty" description:"Whether events are sent. Default: true"`
	ContentType   string   `json:"contentType,omitempty" enum:"form,json" description:"How events are written. Default: form"`
	InsecureSSL   bool     `json:"insecureSsl,omitempty" description:"Do not check the certificate of the receiver. Default: false"`
}

func (p Parts) createWebhook() scaffoldernode.Action {
	return scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: "github:webhook", Description: "Adds a webhook to a repository at GitHub, or changes the one with the address.", SupportsDryRun: true,
		Examples: []scaffoldernode.ActionExample{example("All events", `steps:
  - id: hook
    action: github:webhook
    input:
      repoUrl: github.com?repo=shop&owner=acme
      webhookUrl: https://ci.example.com/hook
      webhookSecret: ${{ secrets.hook }}
      events: ["*"]
      contentType: json
`)},
	}, func(ctx context.Context, c *scaffoldernode.ActionContext, in webhookInput) (out struct{}, err error) {
		if c.DryRun {
			_, err := scaffoldernode.ParseRepoURL(p.Hosts, in.RepoURL)
			c.Logger.Info("This is a dry run: no webhook is created")
			return out, err
		}
		r, err := p.repository(ctx, in.target)
		if err != nil {
			return out, err
		}
		err = p.hook(ctx, r, in)
		if err == nil {
			c.Logger.Info("The webhook " + in.WebhookURL + " is there")
		}
		return out, tolerate(ctx, c, err, fmt.Sprintf("Failed: create webhook '%s' on repo: '%s'", in.WebhookURL, r.name))
	})
}

// hook makes the webhook, or changes the one with the same address.
func (p Parts) hook(ctx context.Context, r *repository, in webhookInput) error {
	config := map[string]any{"url": in.WebhookURL, "content_type": or(in.ContentType, "form"), "insecure_ssl": "0"}
	if in.InsecureSSL {
		config["insecure_ssl"] = "1"
	}
	if in.WebhookSecret != "" {
		config["secret"] = in.WebhookSecret
	}
	events := in.Events
	if events == nil {
		events = []string{"push"}
	}
	body := map[string]any{"config": config, "events": events, "active": yes(in.Active)}
	type hook struct {
		ID     int64 `json:"id"`
		Config struct {
			URL string `json:"url"`
		} `json:"config"`
	}
	created := false
	found, err := ensure(ctx, p, func(ctx context.Context) (found hook, ok bool, err error) {
		err = each(ctx, r, r.path("hooks"), url.Values{}, func(page *[]hook) bool {
			for _, one := range *page {
				if one.Config.URL == in.WebhookURL {
					found, ok = one, true
				}
			}
			return !ok
		})
		return found, ok, err
	}, func(ctx context.Context) (made hook, err error) {
		body["name"] = "web"
		err = r.post(ctx, body, &made, "hooks")
		created = err == nil
		return made, err
	})
	if err != nil || created {
		return err
	}
	return r.send(ctx, githubapi.Call{Method: http.MethodPatch, Path: r.path("hooks", fmt.Sprint(found.ID)), Body: body, Repeatable: true}, nil)
}
