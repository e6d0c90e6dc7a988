// Signs in with the package openid-client: discovery, registration, the code
// grant with PKCE and nonce, user info, refresh, revocation.
import assert from 'node:assert/strict';
import * as oidc from 'openid-client';
import { approve, callback, portal, reject } from './portal.mjs';

const issuer = new URL(`${portal}/api/auth`);
const insecure = { execute: [oidc.allowInsecureRequests] };

async function signIn(config, name) {
  const verifier = oidc.randomPKCECodeVerifier();
  const state = oidc.randomState();
  const nonce = oidc.randomNonce();
  const begun = oidc.buildAuthorizationUrl(config, {
    redirect_uri: callback, scope: 'openid offline_access', state, nonce,
    code_challenge: await oidc.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
  });
  const expected = { pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce, idTokenExpected: true };

  await assert.rejects(oidc.authorizationCodeGrant(config, new URL(await reject(begun)), expected), { error: 'access_denied' });

  const tokens = await oidc.authorizationCodeGrant(config, new URL(await approve(begun)), expected);
  const { sub } = tokens.claims();
  assert.equal(sub, 'user:development/guest');
  const info = await oidc.fetchUserInfo(config, tokens.access_token, sub);
  assert.equal(info.sub, sub);

  const next = await oidc.refreshTokenGrant(config, tokens.refresh_token);
  assert.notEqual(next.refresh_token, tokens.refresh_token);
  await oidc.tokenRevocation(config, next.refresh_token);
  await assert.rejects(oidc.refreshTokenGrant(config, next.refresh_token), { error: 'invalid_grant' });
  console.log(`ok openid-client: ${name}`);
}

const redirect_uris = [callback];
await signIn(await oidc.dynamicClientRegistration(issuer, { redirect_uris, client_name: 'openid-client' }, undefined, insecure), 'registered, secret in the body');
await signIn(
  await oidc.dynamicClientRegistration(issuer, { redirect_uris, token_endpoint_auth_method: 'client_secret_basic' }, oidc.ClientSecretBasic(), insecure),
  'registered, secret in the header',
);
await signIn(await oidc.dynamicClientRegistration(issuer, { redirect_uris, token_endpoint_auth_method: 'none' }, oidc.None(), insecure), 'registered, public');
await signIn(await oidc.discovery(issuer, `${issuer}/.well-known/oauth-client/cli.json`, undefined, oidc.None(), insecure), 'client id metadata document');
