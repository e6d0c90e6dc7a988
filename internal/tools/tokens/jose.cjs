// Makes and verifies tokens with jose: node jose.cjs DIR, with a task as JSON
// on the standard input. It prints what came of it as JSON.
//   {"verify": [{"name", "token", "keys" | "url", "typ", "audience"?, "now"?}]}
//   {"make": {"now": seconds}}
const { createRequire } = require('node:module');
const path = require('node:path');

const load = createRequire(path.join(path.resolve(process.argv[2]), 'package.json'));
const jose = load('jose');

async function verify({ name, token, keys, url, typ, audience, now }) {
  try {
    const set = keys ? jose.createLocalJWKSet({ keys }) : jose.createRemoteJWKSet(new URL(url));
    const options = { typ, audience, requiredClaims: ['iat', 'exp', 'sub'] };
    if (now) options.currentDate = new Date(now * 1000);
    const { payload } = await jose.jwtVerify(token, set, options);
    return { name, payload };
  } catch (err) {
    return { name, error: String(err) };
  }
}

// The claim uip is the signature of the limited form of a token.
async function userToken(key, alg, kid, sub, now) {
  const times = { iat: now, exp: now + 3600 };
  const encode = value => Buffer.from(JSON.stringify(value));
  const limited = await new jose.CompactSign(encode({ sub, ...times })).setProtectedHeader({ typ: 'vnd.backstage.limited-user', alg, kid }).sign(key);
  const uip = limited.split('.')[2];
  const full = await new jose.CompactSign(encode({ iss: 'http://localhost:7007/api/auth', sub, ent: [sub], aud: 'backstage', ...times, uip }))
    .setProtectedHeader({ typ: 'vnd.backstage.user', alg, kid }).sign(key);
  return { full, limited };
}

async function make({ now }) {
  const out = { keys: { users: [], remote: [], external: [] }, tokens: [] };
  const pair = async (owner, alg) => {
    const { privateKey, publicKey } = await jose.generateKeyPair(alg);
    const kid = `${owner}-${alg}`;
    out.keys[owner].push({ ...(await jose.exportJWK(publicKey)), kid, alg });
    return { privateKey, kid };
  };
  const add = (name, token, want, cookie) => out.tokens.push({ name, token, want, ...(cookie && { cookie }) });
  let limited;
  for (const alg of ['ES256', 'ES384', 'RS256', 'PS256', 'EdDSA']) {
    const { privateKey, kid } = await pair('users', alg);
    const sub = 'user:default/jäne';
    const user = await userToken(privateKey, alg, kid, sub, now);
    add(`user, ${alg}`, user.full, sub);
    add(`limited user, ${alg}`, user.limited, '401');
    add(`cookie, ${alg}`, user.limited, sub, true);
    limited ??= user.limited;
  }
  for (const alg of ['ES256', 'EdDSA']) {
    const { privateKey, kid } = await pair('remote', alg);
    const plugin = claims => new jose.SignJWT({ sub: 'remote', iat: now, exp: now + 3600, ...claims }).setProtectedHeader({ typ: 'vnd.backstage.plugin', alg, kid }).sign(privateKey);
    add(`plugin, ${alg}`, await plugin({ aud: 'probe' }), 'plugin:remote');
    add(`plugin for a user, ${alg}`, await plugin({ aud: 'probe', obo: limited }), 'user:default/jäne by plugin:remote');
    add(`plugin for another, ${alg}`, await plugin({ aud: 'other' }), '401');
  }
  for (const alg of ['RS256', 'PS384', 'ES512', 'EdDSA']) {
    const { privateKey, kid } = await pair('external', alg);
    const outside = claims => new jose.SignJWT({ sub: 'build', iss: 'corp.example', aud: 'portal', iat: now, exp: now + 3600, ...claims }).setProtectedHeader({ alg, kid }).sign(privateKey);
    add(`external, ${alg}`, await outside({}), 'external:corp:build');
    add(`external, expired, ${alg}`, await outside({ exp: now }), '401');
  }
  const secret = Buffer.from('123456789012345678901234567890ab');
  add('legacy', await new jose.SignJWT({ sub: 'backstage-server', exp: now + 60 }).setProtectedHeader({ alg: 'HS256' }).sign(secret), 'old');
  return out;
}

let text = '';
process.stdin.on('data', chunk => { text += chunk; });
process.stdin.on('end', async () => {
  const task = JSON.parse(text);
  const out = task.make ? await make(task.make) : await Promise.all(task.verify.map(verify));
  process.stdout.write(JSON.stringify(out));
});
