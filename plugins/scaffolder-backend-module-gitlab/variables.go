package scaffoldermodulegitlab

import (
	"context"
	"encoding/json"
	"net/url"

	"github.com/flytower/flytower/apierr"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

// variable is a CI/CD variable as the API has it.
type variable struct {
	Key              string  `json:"key"`
	Value            *string `json:"value"` // null in answers about hidden ones
	VariableType     string  `json:"variable_type"`
	Protected        bool    `json:"protected"`
	Masked           bool    `json:"masked"`
	MaskedAndHidden  bool    `json:"masked_and_hidden,omitempty"` // in requests only
	Hidden           bool    `json:"hidden,omitempty"`            // in answers only
	Raw              bool    `json:"raw"`
	EnvironmentScope string  `json:"environment_scope"`
	Description      string  `json:"description,omitempty"`
}

// findVariable returns the variable of a key and a scope, nil if there is none.
func (a *api) findVariable(ctx context.Context, project string, v variable) (*variable, error) {
	var found variable
	err := a.get(ctx, urlPath("projects", project, "variables", v.Key), url.Values{"filter[environment_scope]": {v.EnvironmentScope}}, &found)
	if is(err, 404) {
		return nil, nil
	}
	return &found, err
}

// same reports whether there is nothing to change; the value of a hidden
// variable cannot be read.
func (v variable) same(found *variable) bool {
	return found != nil && found.Value != nil && *found.Value == *v.Value && found.VariableType == v.VariableType &&
		found.Protected == v.Protected && found.Masked == (v.Masked || v.MaskedAndHidden) && found.Raw == v.Raw && found.Hidden == v.MaskedAndHidden
}

// isTaken reports whether something of that name is there already.
func isTaken(err error) bool {
	return is(err, 400, 409, 422) && (says(err, "already been taken") || says(err, "already exists"))
}

type projectVariableInput struct {
	target
	ProjectID         json.RawMessage `json:"projectId" description:"The number of the project, or its whole path"`
	Key               string          `json:"key" description:"The name of the variable: letters, digits and _, 255 at most"`
	Value             string          `json:"value" description:"The value of the variable"`
	VariableType      string          `json:"variableType" description:"env_var or file"`
	VariableProtected bool            `json:"variableProtected,omitempty" description:"Whether only pipelines of protected branches and tags have it; false by default"`
	Masked            bool            `json:"masked,omitempty" description:"Whether the value is masked in logs of jobs; false by default"`
	MaskedAndHidden   bool            `json:"maskedAndHidden,omitempty" description:"Whether the value is masked, and cannot be read in the settings either; false by default"`
	Raw               bool            `json:"raw,omitempty" description:"Whether other variables in the value are left as they are; false by default"`
	EnvironmentScope  string          `json:"environmentScope,omitempty" description:"The environments that have it; * by default, which is all"`
}

func (g *gitlab) createProjectVariable() scaffoldernode.Action {
	return refine(scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: "gitlab:projectVariable:create", Description: "Creates a CI/CD variable of a project",
		Examples: example("A masked variable for one environment", `
- id: variable
  name: Create a variable
  action: gitlab:projectVariable:create
  input:
    repoUrl: gitlab.com?owner=acme&repo=shop
    projectId: ${{ steps.publish.output.projectId }}
    key: DEPLOY_KEY
    value: ${{ secrets.DEPLOY_KEY }}
    variableType: env_var
    masked: true
    environmentScope: production
`),
	}, func(ctx context.Context, c *scaffoldernode.ActionContext, in projectVariableInput) (out struct{}, err error) {
		a, err := g.at(in.target)
		if err != nil {
			return out, err
		}
		v := variable{
			Key: in.Key, Value: &in.Value, VariableType: in.VariableType, Protected: in.VariableProtected, Masked: in.Masked,
			MaskedAndHidden: in.MaskedAndHidden, Raw: in.Raw, EnvironmentScope: in.EnvironmentScope,
		}
		if v.EnvironmentScope == "" {
			v.EnvironmentScope = "*"
		}
		project := ref(in.ProjectID)
		this := key("project.variable", a.base, project, v.Key, v.EnvironmentScope)
		existed, again, err := scaffoldernode.Before(ctx, c, this, func(ctx context.Context) (bool, error) {
			found, err := a.findVariable(ctx, project, v)
			return found != nil, err
		})
		if err != nil {
			return out, err
		}
		_, err = scaffoldernode.Checkpoint(ctx, c, this, func(ctx context.Context) (bool, error) {
			return true, a.createVariable(ctx, project, v, again && !existed)
		})
		return out, err
	}), map[string]string{"projectId": numberOrText, "key": `"pattern":"^[A-Za-z0-9_]{1,255}$"`})
}

// createVariable creates a variable. One that has the same value already is
// fine; any other one of the key is, too, and takes the value, if it is ours.
func (a *api) createVariable(ctx context.Context, project string, v variable, ours bool) error {
	err := a.post(ctx, urlPath("projects", project, "variables"), v, nil)
	if !isTaken(err) {
		return err
	}
	found, finding := a.findVariable(ctx, project, v)
	switch {
	case finding != nil:
		return finding
	case v.same(found):
		return nil
	case !ours:
		return err
	}
	change := v
	change.MaskedAndHidden = false // cannot be changed, and stays
	return a.put(ctx, urlPath("projects", project, "variables", v.Key)+"?"+url.Values{"filter[environment_scope]": {v.EnvironmentScope}}.Encode(), change, nil)
}

// projectVariable is a variable in the input of publish:gitlab.
type projectVariable struct {
	Key              string  `json:"key"`
	Value            string  `json:"value"`
	Description      string  `json:"description,omitempty"`
	VariableType     string  `json:"variable_type,omitempty" enum:"env_var,file" description:"env_var by default"`
	Protected        bool    `json:"protected,omitempty"`
	Masked           bool    `json:"masked,omitempty"`
	MaskedAndHidden  bool    `json:"masked_and_hidden,omitempty"`
	Raw              bool    `json:"raw,omitempty"`
	EnvironmentScope *string `json:"environment_scope,omitempty" description:"* by default"`
}

func (g *gitlab) addVariables(ctx context.Context, a *api, project int64, all []projectVariable) error {
	for _, in := range all {
		v := variable{
			Key: in.Key, Value: &in.Value, VariableType: in.VariableType, Protected: in.Protected, Masked: in.Masked,
			MaskedAndHidden: in.MaskedAndHidden, Raw: in.Raw, EnvironmentScope: "*", Description: in.Description,
		}
		if v.VariableType == "" {
			v.VariableType = "env_var"
		}
		if in.EnvironmentScope != nil {
			v.EnvironmentScope = *in.EnvironmentScope
		}
		if err := a.createVariable(ctx, idText(project), v, true); err != nil {
			return apierr.Input("Environment variable creation failed for %s. %w", v.Key, err)
		}
	}
	return nil
}
