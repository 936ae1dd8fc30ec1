// The house rule: base <- quic, path, rpc, config <- loadbalancer, rendezvous, peer <- chat <- cli.
const only = (name, from, allowed) => ({
  name,
  severity: 'error',
  comment: `${from} may import only ${allowed.join(', ')}`,
  from: { path: `^src/${from}/` },
  to: { path: '^src/', pathNot: [from, ...allowed].map((folder) => `^src/${folder}/`) },
});
const floors = ['base', 'quic', 'path', 'rpc', 'config'];

module.exports = {
  forbidden: [
    {
      name: 'no-cycles',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    only('base', 'base', []),
    only('quic', 'quic', ['base']),
    only('path', 'path', ['base']),
    only('rpc', 'rpc', ['base']),
    only('config', 'config', ['base']),
    only('loadbalancer', 'loadbalancer', floors),
    only('rendezvous', 'rendezvous', floors),
    only('peer', 'peer', floors),
    only('chat', 'chat', [...floors, 'peer']),
    {
      name: 'infra',
      severity: 'error',
      comment: 'infra knows nothing of the programs but their default ports',
      from: { path: '^infra/' },
      to: { path: '^src/', pathNot: '^src/base/default-ports\\.ts$' },
    },
    {
      name: 'infra-is-not-shipped',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: '^infra/' },
    },
    only('cli', 'cli', [...floors, 'loadbalancer', 'rendezvous', 'peer', 'chat']),
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    exclude: { path: '^src/rpc/generated/' },
  },
};
