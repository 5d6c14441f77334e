import { readFileSync } from 'node:fs';

const packageJson = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  readonly name: string;
  readonly version: string;
};

/** What the manifest says wrote it. */
export const TOOL: { readonly name: string; readonly version: string } = {
  name: packageJson.name,
  version: packageJson.version,
};
