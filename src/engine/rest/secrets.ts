import { randomBytes } from 'node:crypto';
import { fernetEncrypt, fernetFingerprint } from '../../secrets/fernet.ts';
import { createSeal, type Seal } from '../../secrets/seal.ts';
import { LifeboatError } from '../../errors.ts';
import type { Manifest } from '../manifest.ts';
import type { BackupPlanSecrets, PlanWarning } from '../plans.ts';
import { recoverability } from '../sealed/advice.ts';
import { secretsMode } from '../sealed/plan-secrets.ts';
import type { RestBackupRequest } from './api.ts';
import type { GivenSecrets } from './given.ts';

/** What a backup through the API does with the secrets that Airflow shows. */
export interface RestSecrets {
  /** They are left out. */
  readonly omit: boolean;
  /** Present: for whom the rest is sealed. */
  readonly seal?: Seal;
  /** Present: makes a token of a clear value. */
  readonly encrypt?: (clear: string) => string;
  /** Present: takes the place of what is masked. */
  readonly given?: GivenSecrets;
  readonly plan: BackupPlanSecrets;
  readonly manifest: Manifest['secrets'];
  readonly warnings: readonly PlanWarning[];
}

const IV_BYTES = 16;

/**
 * The API gives secrets in clear, if at all, and nothing clear is stored: sealed for recipients, or encrypted with a
 * Fernet key that is given, or left out.
 */
export async function planRestSecrets(
  request: Pick<RestBackupRequest, 'secrets' | 'sealTo' | 'fernetKeys' | 'fernetKeysLent' | 'given'>,
  backupId: string,
  now: () => Date,
): Promise<RestSecrets> {
  const { sealTo = [], fernetKeys: keys, fernetKeysLent: lent = false, given } = request;
  const asked = secretsMode(request);
  const [key] = keys;
  const mode = asked === 'ciphertext' && key === undefined ? 'omit' : asked;
  if (given !== undefined && mode === 'omit') throw forNobody();
  const plan = recoverability({ mode, recipients: sealTo, keys, lent, tokens: undefined });
  const manifest = {
    mode,
    fernetKeys: mode === 'ciphertext' && key !== undefined ? [fernetFingerprint(key)] : [],
    ...(mode === 'sealed' ? { recipients: sealTo } : {}),
  };
  const base = {
    omit: mode === 'omit',
    ...(given === undefined ? {} : { given }),
    plan,
    manifest,
    warnings: mode === asked ? [] : [NO_RECIPIENT],
  };
  if (mode === 'sealed') return { ...base, seal: await createSeal(sealTo, backupId) };
  if (mode === 'omit' || key === undefined) return base;
  return {
    ...base,
    encrypt: (clear) => fernetEncrypt(key, clear, { now: now(), iv: randomBytes(IV_BYTES) }),
  };
}

function forNobody(): LifeboatError {
  return new LifeboatError(
    'refused',
    'Secrets are handed over in clear, and nobody is named to seal them for.',
    {
      next: NO_RECIPIENT.next,
    },
  );
}

const NO_RECIPIENT = {
  code: 'secrets-left-out',
  message:
    'Values of variables, passwords and extras of connections are left out: the API shows them in clear, and nobody is named to seal them for.',
  next: 'Give --seal-to RECIPIENT, or a Fernet key in LIFEBOAT_FERNET_KEY that they are encrypted with.',
} satisfies PlanWarning;
