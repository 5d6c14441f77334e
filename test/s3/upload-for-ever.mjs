// A child process for failures.test.ts: uploads without end, and is killed in the middle.
// Arguments: the compiled src/storage/open.js, a storage URL, a key.
import { setImmediate } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';

const [module = '', url = '', key = ''] = process.argv.slice(2);
const { openStorage } = await import(pathToFileURL(module).href);

async function* endless() {
  for (;;) {
    yield Buffer.alloc(64 * 1024, 'x');
    await setImmediate();
  }
}

const storage = await openStorage(url, { env: process.env });
await storage.write(key, endless());
