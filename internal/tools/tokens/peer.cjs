// A backend of the reference with the plugin "peer", which tells who calls:
// node peer.cjs DIR PROVIDER --config FILE
// DIR has the node_modules; PROVIDER is "auth" to sign users in here.
const { createRequire } = require('node:module');
const path = require('node:path');

const load = createRequire(path.join(path.resolve(process.argv[2]), 'package.json'));
const { createBackend } = load('@backstage/backend-defaults');
const { coreServices, createBackendPlugin } = load('@backstage/backend-plugin-api');

function describe({ principal: p }) {
  switch (p.type) {
    case 'user':
      return p.userEntityRef + (p.actor ? ` by ${p.actor.subject}` : '');
    case 'service':
      return p.subject;
    default:
      return 'nobody';
  }
}

const peer = createBackendPlugin({
  pluginId: 'peer',
  register(env) {
    env.registerInit({
      deps: { router: coreServices.httpRouter, httpAuth: coreServices.httpAuth, auth: coreServices.auth, discovery: coreServices.discovery },
      async init({ router, httpAuth, auth, discovery }) {
        router.addAuthPolicy({ path: '/cookie', allow: 'user-cookie' });
        router.addAuthPolicy({ path: '/raw', allow: 'unauthenticated' });
        const routes = {
          '/default': async req => describe(await httpAuth.credentials(req)),
          '/cookie': async req => describe(await httpAuth.credentials(req, { allowLimitedAccess: true })),
          '/raw': async req => req.headers.authorization || '',
          '/relay': async req => {
            const { token } = await auth.getPluginRequestToken({ onBehalfOf: await httpAuth.credentials(req), targetPluginId: 'probe' });
            const answer = await fetch(`${await discovery.getBaseUrl('probe')}/default`, { headers: { Authorization: `Bearer ${token}` } });
            return answer.text();
          },
        };
        router.use((req, res, next) => {
          const route = routes[req.path];
          if (!route) {
            next();
            return;
          }
          route(req).then(text => res.type('text/plain').send(text), next);
        });
      },
    });
  },
});

const backend = createBackend();
backend.add(peer);
if (process.argv[3] === 'auth') {
  backend.add(Promise.resolve({ default: load('@backstage/plugin-auth-backend').default }));
  backend.add(Promise.resolve({ default: load('@backstage/plugin-auth-backend-module-guest-provider').default }));
}
backend.start().catch(err => {
  console.error(err);
  process.exit(1);
});
