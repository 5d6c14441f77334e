// A file deleted from src must not live on in dist, where knip and the type check cannot see it.
import { rmSync } from 'node:fs';

rmSync(new URL('../dist', import.meta.url), { recursive: true, force: true });
