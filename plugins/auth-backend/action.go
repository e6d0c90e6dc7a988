package authbackend

import (
	"context"
	"encoding/json"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/core/jsonschema"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

const whoAmIOutput = `{
  "type": "object",
  "properties": {
    "entity": {
      "type": "object",
      "properties": {},
      "additionalProperties": true,
      "description": "The catalog entity of the signed-in user, in full"
    },
    "userInfo": {
      "type": "object",
      "properties": {
        "userEntityRef": {"type": "string", "description": "The entity reference of the user, for example user:default/jane.doe"},
        "ownershipEntityRefs": {"type": "array", "items": {"type": "string"}, "description": "The entity references by which the user owns things"}
      },
      "required": ["userEntityRef", "ownershipEntityRefs"],
      "additionalProperties": false,
      "description": "Who the user is and what the user owns by"
    }
  },
  "required": ["entity", "userInfo"],
  "additionalProperties": false,
  "$schema": "http://json-schema.org/draft-07/schema#"
}`

// whoAmI is the action that tells agents on whose behalf they act.
func whoAmI(catalog catalognode.Client, infos core.UserInfoService) core.Action {
	return core.Action{
		Name: "who-am-i", Title: "Who Am I",
		Description: "Returns the catalog entity and the ownership of the user on whose behalf it is called. It needs the credentials of a user; services and anonymous callers are refused.",
		Input:       json.RawMessage(jsonschema.Empty), Output: json.RawMessage(whoAmIOutput),
		Attributes: core.ActionAttributes{ReadOnly: true, Idempotent: true},
		Run: func(ctx context.Context, call core.ActionCall) (any, error) {
			if !call.As.IsUser() {
				return nil, apierr.NotAllowed("This action requires user credentials")
			}
			info, err := infos.UserInfo(ctx, call.As)
			if err != nil {
				return nil, err
			}
			entity, err := catalog.EntityByRef(ctx, info.UserEntityRef, call.As)
			if err != nil {
				return nil, err
			}
			if entity == nil {
				return nil, apierr.NotFound("The catalog has no entity %s for the user", info.UserEntityRef)
			}
			return map[string]any{"entity": entity, "userInfo": info}, nil
		},
	}
}
