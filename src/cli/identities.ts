import { readFile, stat } from 'node:fs/promises';
import { LifeboatError, toError } from '../errors.ts';
import type { CommandInput } from './command.ts';

/** Bits of a file's mode that let others than its owner read it. */
const OTHERS_MAY_READ = 0o044;

/** Instead of a file: the KMS keys that a backup is sealed for are asked, and nothing else. */
const KMS_ALONE = 'awskms:';

/** `{ identities }` of --identity-file or LIFEBOAT_IDENTITY_FILE; nothing when neither is given. */
export async function identitiesOf({
  args,
  host,
  report,
}: CommandInput): Promise<{ readonly identities?: readonly string[] }> {
  const { resolveIdentityFile } = await import('../config.ts');
  const file = resolveIdentityFile(args.text('identity-file'), host.env);
  if (file === undefined) return {};
  if (file === KMS_ALONE) return { identities: [] };
  const { parseIdentities } = await import('../secrets/recipients.ts');
  const { text, mode } = await readIdentityFile(file);
  const identities = parseIdentities(text, file);
  if ((mode & OTHERS_MAY_READ) !== 0) {
    // A warning: a secret that a container mounts cannot always be given another mode, and a restore must not wait for it.
    report({
      event: 'warning',
      code: 'identity-file-mode',
      message: `The identity file ${file} can be read by others than its owner.`,
      next: `Run chmod 600 ${file}.`,
    });
  }
  return { identities };
}

async function readIdentityFile(file: string): Promise<{ readonly text: string; readonly mode: number }> {
  try {
    return { text: await readFile(file, 'utf8'), mode: (await stat(file)).mode };
  } catch (thrown) {
    const code = (thrown as { code?: unknown } | null)?.code;
    const why =
      code === 'ENOENT' ? 'there is none' : code === 'EACCES' ? 'it may not be read' : 'it cannot be read';
    throw new LifeboatError('usage', `The identity file ${file} is of no use: ${why}.`, {
      next: 'Give the path of the file that age-keygen wrote, with --identity-file or LIFEBOAT_IDENTITY_FILE.',
      cause: toError(thrown),
    });
  }
}
