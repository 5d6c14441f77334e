import type { Client } from 'pg';
import { LifeboatError } from '../../errors.ts';
import { fernetFingerprint } from '../../secrets/fernet.ts';
import { createSeal } from '../../secrets/seal.ts';
import type { ResolvedTable } from '../../versions/registry.ts';
import type { BackupRequest } from '../api.ts';
import type { DetectedEnvironment } from '../detect.ts';
import type { Manifest, SecretsMode } from '../manifest.ts';
import type { BackupPlanSecrets, LeftOut, PlanWarning } from '../plans.ts';
import { surveySecrets } from '../unreadable.ts';
import type { SecretSurvey } from '../unreadable.ts';
import { KEEP_THE_KEY, recoverability } from './advice.ts';
import { sealedFields } from './fields.ts';
import { omitSecrets } from './omit.ts';
import type { Sealing } from './write.ts';

const NAMES_SHOWN = 10;
const NAMES_KEPT = 100;

/** What a backup does with secrets, decided before a row is copied. */
export interface PlannedSecrets {
  /** Tables to copy; rows or tables that are left out with their secrets are taken out of them. */
  readonly tables: readonly ResolvedTable[];
  readonly sealing?: Sealing;
  readonly leftOut: readonly LeftOut[];
  readonly warnings: readonly PlanWarning[];
  readonly plan: BackupPlanSecrets;
  readonly manifest: Manifest['secrets'];
}

/** @throws LifeboatError 'usage' when the flags contradict each other */
export function secretsMode({
  secrets,
  sealTo = [],
}: Pick<BackupRequest, 'secrets' | 'sealTo'>): SecretsMode {
  const mode = secrets ?? (sealTo.length > 0 ? 'sealed' : 'ciphertext');
  if (mode === 'sealed' && sealTo.length === 0) {
    throw new LifeboatError('usage', '--secrets sealed needs to know for whom.', {
      next: 'Give --seal-to RECIPIENT: an age recipient (age1…) or awskms://KEY?region=REGION.',
    });
  }
  if (mode !== 'sealed' && sealTo.length > 0) {
    throw new LifeboatError('usage', `--seal-to seals secrets, and --secrets ${mode} says otherwise.`, {
      next: 'Leave one of the two out.',
    });
  }
  return mode;
}

/**
 * Reads every encrypted secret once, inside the snapshot, to know which of them the keys read.
 *
 * @throws LifeboatError 'usage' (flags, recipients), 'refused' (to be sealed, and no key reads them), 'failed' (KMS)
 */
export async function planSecrets(
  request: BackupRequest,
  client: Client,
  detected: DetectedEnvironment,
  tables: readonly ResolvedTable[],
  backupId: string,
): Promise<PlannedSecrets> {
  const mode = secretsMode(request);
  const keys = request.fernetKeys;
  const recipients = request.sealTo ?? [];
  const secretTables = tables.filter((table) => table.secrets.length > 0);
  const survey = await surveySecrets(client, detected.live.schema, secretTables, keys);
  const plan = recoverability({
    mode,
    recipients,
    keys,
    lent: request.fernetKeysLent ?? false,
    tokens: survey.tokens,
  });
  const manifest = manifestSecrets(mode, recipients, keys, survey);
  const all = { tables, leftOut: [], plan, manifest, warnings: warnings(plan, survey, keys) };
  switch (mode) {
    case 'ciphertext':
      return all;
    case 'omit':
      return { ...all, warnings: [], ...(await omitSecrets(client, detected, tables)) };
    case 'sealed': {
      refuseUnreadable(survey, keys);
      const seal = await createSeal(recipients, backupId);
      return { ...all, sealing: { seal, keys, fields: fieldsOf(detected, tables) } };
    }
  }
}

function manifestSecrets(
  mode: SecretsMode,
  recipients: readonly string[],
  keys: readonly string[],
  { tokens, unreadable }: SecretSurvey,
): Manifest['secrets'] {
  const readsNone = tokens > 0 && unreadable.length === tokens;
  return {
    mode,
    // A key that reads nothing here is not this environment's, and a restore must not take it for that.
    fernetKeys: readsNone ? [] : keys.map(fernetFingerprint),
    ...(mode === 'sealed' ? { recipients } : {}),
    unreadable:
      keys.length === 0 ? null : { count: unreadable.length, names: unreadable.slice(0, NAMES_KEPT) },
  };
}

function fieldsOf(detected: DetectedEnvironment, tables: readonly ResolvedTable[]): Sealing['fields'] {
  return new Map(
    tables
      .map((table) => {
        const types = detected.live.tables.get(table.name)?.columns;
        const columns = table.columns.map((column) => column.name);
        return [
          table.name,
          sealedFields(table.name, columns, (column) => types?.get(column)?.type ?? ''),
        ] as const;
      })
      .filter(([, fields]) => fields.length > 0),
  );
}

/** Sealing needs clear text. A single secret that the right keys do not read was lost before, and stops nothing. */
function refuseUnreadable({ tokens, unreadable }: SecretSurvey, keys: readonly string[]): void {
  if (tokens === 0 || unreadable.length < tokens) return;
  const why =
    keys.length === 0
      ? 'no Fernet key of this environment is known'
      : 'the Fernet key that is known reads none of them';
  throw new LifeboatError(
    'refused',
    `${tokens} secrets of this environment are encrypted, and cannot be sealed: ${why}.`,
    {
      next: 'Set LIFEBOAT_FERNET_KEY to the [core] fernet_key of this Airflow; or store them as they are, with --secrets ciphertext.',
      details: { unreadable: unreadable.slice(0, NAMES_KEPT) },
    },
  );
}

function warnings(
  plan: BackupPlanSecrets,
  { tokens, unreadable }: SecretSurvey,
  keys: readonly string[],
): readonly PlanWarning[] {
  const result: PlanWarning[] = [];
  if (keys.length > 0 && unreadable.length > 0) {
    const shown = unreadable.slice(0, NAMES_SHOWN).join(', ');
    const more = unreadable.length > NAMES_SHOWN ? `, and ${unreadable.length - NAMES_SHOWN} more` : '';
    result.push({
      code: 'unreadable-secrets',
      message:
        unreadable.length === tokens
          ? `The known Fernet key reads none of the ${tokens} encrypted secrets; it is not the key of this environment: ${shown}${more}.`
          : `The known Fernet key does not read ${unreadable.length} of the ${tokens} encrypted secrets: ${shown}${more}.`,
    });
  }
  if (plan.recoverableWith === 'none') {
    result.push({ code: 'secrets-not-recoverable', message: plan.says, next: KEEP_THE_KEY });
  }
  return result;
}
