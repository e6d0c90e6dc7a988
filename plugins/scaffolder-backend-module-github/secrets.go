package scaffoldermodulegithub

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"

	"golang.org/x/crypto/nacl/box"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/integration/githubapi"
)

// setSecrets stores secrets below a path, sealed with the public key that the
// host has for it.
func (r *repository) setSecrets(ctx context.Context, path string, secrets map[string]string) error {
	if len(secrets) == 0 {
		return nil
	}
	var public struct {
		KeyID string `json:"key_id"`
		Key   string `json:"key"`
	}
	if err := r.call(ctx, http.MethodGet, path+"/public-key", nil, &public); err != nil {
		return fmt.Errorf("read the public key for secrets: %w", err)
	}
	raw, err := base64.StdEncoding.DecodeString(public.Key)
	if err != nil || len(raw) != 32 {
		return apierr.ServiceUnavailable("the public key for secrets that %s gave is malformed", r.host)
	}
	for _, name := range slices.Sorted(maps.Keys(secrets)) {
		sealed, err := box.SealAnonymous(nil, []byte(secrets[name]), (*[32]byte)(raw), rand.Reader)
		if err != nil {
			return fmt.Errorf("seal the secret %s: %w", name, err)
		}
		body := map[string]any{"encrypted_value": base64.StdEncoding.EncodeToString(sealed), "key_id": public.KeyID}
		if err := r.call(ctx, http.MethodPut, path+"/"+url.PathEscape(name), body, nil); err != nil {
			return fmt.Errorf("set the secret %s: %w", name, err)
		}
	}
	return nil
}

// setVariable creates a variable, or changes the one that is there.
func (r *repository) setVariable(ctx context.Context, path, name, value string) error {
	body := map[string]any{"name": name, "value": value}
	err := r.send(ctx, githubapi.Call{Method: http.MethodPost, Path: path, Body: body, Repeatable: true}, nil)
	if status(err) == http.StatusConflict {
		err = r.send(ctx, githubapi.Call{Method: http.MethodPatch, Path: path + "/" + url.PathEscape(name), Body: body, Repeatable: true}, nil)
	}
	if err != nil {
		return fmt.Errorf("set the variable %s: %w", name, err)
	}
	return nil
}
