// What a user does: signs in as a guest and answers requests, as the consent
// page of the frontend does.
import assert from 'node:assert/strict';

export const portal = process.env.PORTAL;
export const callback = 'http://127.0.0.1:8055/callback';

async function answer(begun, decision) {
  const asked = await fetch(begun, { redirect: 'manual' });
  assert.equal(asked.status, 302, await asked.clone().text());
  const session = `${portal}/api/auth/v1/sessions/${asked.headers.get('location').split('/').pop()}`;
  assert.equal((await (await fetch(session)).json()).redirectUri, callback);
  const { backstageIdentity: { token } } = await (await fetch(`${portal}/api/auth/guest/refresh`)).json();
  const given = await fetch(`${session}/${decision}`, { method: 'POST', headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' } });
  assert.equal(given.status, 200, await given.clone().text());
  return (await given.json()).redirectUrl;
}

export const approve = begun => answer(begun, 'approve');
export const reject = begun => answer(begun, 'reject');
