import { fernetFingerprint } from '../../secrets/fernet.ts';
import type { SecretsMode } from '../manifest.ts';
import type { BackupPlanSecrets } from '../plans.ts';

/** The two ways to a backup whose secrets outlive their environment. */
export const KEEP_THE_KEY =
  'Keep its [core] fernet_key in a secret store outside this environment and give it as LIFEBOAT_FERNET_KEY, or seal the secrets with backup --seal-to.';

interface Situation {
  readonly mode: SecretsMode;
  readonly recipients: readonly string[];
  /** Fernet keys of the environment, as far as known. */
  readonly keys: readonly string[];
  /** They are the environment's own setting. */
  readonly lent: boolean;
  /** Secrets that are stored encrypted in the source; undefined: nobody looked. */
  readonly tokens: number | undefined;
}

/** An environment that is gone cannot lend its key: what then makes the secrets of a backup readable. Pure. */
export function recoverability(situation: Situation): BackupPlanSecrets {
  const { mode, recipients } = situation;
  const [recoverableWith, says] = judge(situation);
  return { mode, recipients: mode === 'sealed' ? recipients : [], recoverableWith, says };
}

function judge({
  mode,
  recipients,
  keys,
  lent,
  tokens,
}: Situation): [BackupPlanSecrets['recoverableWith'], string] {
  if (mode === 'sealed') {
    const whose = recipients.length === 1 ? 'its recipient' : 'any one of its recipients';
    const says = `Secrets are sealed for ${recipients.join(', ')}. Elsewhere the identity of ${whose} opens them, without the key of this environment.`;
    return ['identity', says];
  }
  if (mode === 'omit') {
    return ['nothing needed', 'Secrets are left out: elsewhere they have to be set anew.'];
  }
  if (tokens === 0) {
    return [
      'nothing needed',
      'No secret of this environment is encrypted: they are stored in clear, as it has them.',
    ];
  }
  if (keys.length === 0) {
    const says =
      'Secrets are ciphertext of a Fernet key that is not known here. An environment that is gone cannot lend its key: without it they are lost.';
    return ['none', says];
  }
  const prints = keys.map(fernetFingerprint).join(', ');
  if (lent) {
    const says = `Secrets are ciphertext of the Fernet key ${prints}, which comes from the environment itself. An environment that is gone cannot lend its key: without it they are lost.`;
    return ['none', says];
  }
  const says = `Secrets are ciphertext of the Fernet key ${prints} (LIFEBOAT_FERNET_KEY). Elsewhere that key opens them, as long as it is kept in a secret store outside this environment.`;
  return ['kept key', says];
}
