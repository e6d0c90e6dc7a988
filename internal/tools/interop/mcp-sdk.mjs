// Signs in with the OAuth client of the package @modelcontextprotocol/sdk, as
// agents do that were told the address of an MCP server.
import assert from 'node:assert/strict';
import { auth } from '@modelcontextprotocol/sdk/client/auth.js';
import { approve, callback, portal } from './portal.mjs';

// Memory is what an agent keeps of a server.
class Memory {
  constructor(client) { this.client = client; }
  get redirectUrl() { return callback; }
  get clientMetadata() {
    return { client_name: 'MCP SDK', redirect_uris: [callback], grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'], token_endpoint_auth_method: 'none' };
  }
  state() { return 'st4te'; }
  clientInformation() { return this.client; }
  saveClientInformation(c) { this.client = c; }
  tokens() { return this.saved; }
  saveTokens(t) { this.saved = t; }
  redirectToAuthorization(url) { this.begun = url; }
  saveCodeVerifier(v) { this.verifier = v; }
  codeVerifier() { return this.verifier; }
}

async function signIn(serverUrl, client, name) {
  const memory = new Memory(client);
  assert.equal(await auth(memory, { serverUrl }), 'REDIRECT');
  const back = new URL(await approve(memory.begun));
  assert.equal(back.searchParams.get('state'), 'st4te');
  assert.equal(await auth(memory, { serverUrl, authorizationCode: back.searchParams.get('code'), iss: back.searchParams.get('iss') }), 'AUTHORIZED');
  const first = memory.saved;
  assert.ok(first.access_token && first.refresh_token);
  assert.equal(await auth(memory, { serverUrl }), 'AUTHORIZED'); // by the refresh token
  assert.notEqual(memory.saved.refresh_token, first.refresh_token);
  const who = await fetch(`${portal}/api/auth/v1/userinfo`, { headers: { authorization: `Bearer ${memory.saved.access_token}` } });
  assert.equal((await who.json()).sub, 'user:development/guest');
  console.log(`ok MCP SDK: ${name}`);
}

const server = `${portal}/api/mcp-actions/v1`;
await signIn(server, undefined, 'registered');
await signIn(`${server}/read-only`, undefined, 'registered, one server of several');
await signIn(server, { client_id: `${portal}/api/auth/.well-known/oauth-client/cli.json` }, 'client id metadata document');
