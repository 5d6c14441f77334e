/**
 * Flags are data: parse.ts hands them to yargs, reads their values and writes the help and docs/cli.md from them.
 */
export interface Flag {
  readonly name: string;
  /** switch: no value · text: one value · list: comma-separated and repeatable · count: a whole number ≥ 1 */
  readonly kind: 'switch' | 'text' | 'list' | 'count';
  readonly describe: string;
  /** The heading in the help under which the flag stands. */
  readonly group: string;
  readonly choices?: readonly string[];
  /** Other spellings of a choice; compared, like the choices, without regard to case. */
  readonly aliases?: Readonly<Record<string, string>>;
  /** Used when the flag is absent, and shown in the help. */
  readonly fallback?: string | number;
  /** For lists: words are taken whole, commas and all; more of them by repeating the flag. */
  readonly whole?: boolean;
  /** Accepted and without effect; not in the help. */
  readonly hidden?: boolean;
}

const ENVIRONMENT = 'Environment:';
const STORAGE = 'Storage:';
const OUTPUT = 'Output:';

export type GlobalGroup = 'environment' | 'storage' | 'output';

/** Accepted by every command; the help of a command shows those that it uses. */
export const GLOBAL_FLAGS: Readonly<Record<GlobalGroup, readonly Flag[]>> = {
  environment: [
    {
      name: 'airflow',
      kind: 'text',
      group: ENVIRONMENT,
      describe:
        'Metadata database: postgresql://USER@HOST:PORT/DB; else LIFEBOAT_AIRFLOW, else Airflow’s own configuration variables. Of lifeboat backup, restore, activate, cleanup and rest also the REST API: https://HOST, or mwaa://NAME?region=REGION',
    },
    {
      name: 'schema',
      kind: 'text',
      group: ENVIRONMENT,
      describe: 'Schema of the Airflow tables; else Airflow’s sql_alchemy_schema, else public',
    },
  ],
  storage: [
    {
      name: 'storage',
      kind: 'text',
      group: STORAGE,
      describe: 'Where backups live: ./DIR, file:///DIR or s3://BUCKET/PREFIX; else LIFEBOAT_STORAGE',
    },
    {
      name: 's3-sse',
      kind: 'text',
      group: STORAGE,
      choices: ['AES256', 'aws:kms'],
      describe: 'Server-side encryption of new objects',
    },
    { name: 's3-kms-key', kind: 'text', group: STORAGE, describe: 'KMS key id or ARN for aws:kms' },
    {
      name: 's3-storage-class',
      kind: 'text',
      group: STORAGE,
      describe: 'Storage class of new objects, such as STANDARD_IA',
    },
    {
      name: 's3-expected-owner',
      kind: 'text',
      group: STORAGE,
      describe: 'Account id that must own the bucket; S3 refuses any other bucket',
    },
  ],
  output: [
    {
      name: 'json',
      kind: 'switch',
      group: OUTPUT,
      describe: 'One JSON object per line on stdout, the last with "event":"summary"; never asks',
    },
    { name: 'debug', kind: 'switch', group: OUTPUT, describe: 'Stack traces of errors, on stderr' },
  ],
};

export const DRY_RUN: Flag = {
  name: 'dry-run',
  kind: 'switch',
  group: 'Safety:',
  describe: 'Print the plan and change nothing',
};

export const YES: Flag = {
  name: 'yes',
  kind: 'switch',
  group: 'Safety:',
  describe: 'Do not ask; needed where nobody can answer',
};

export const KEEP_RUN: Flag = {
  name: 'keep-run',
  kind: 'list',
  whole: true,
  group: 'Live target:',
  describe:
    'DAG_ID/RUN_ID of a run of the target that goes on, with all its rows; repeatable. The run of the task that Lifeboat runs in is kept anyway',
};

export const IGNORE_RUNNING: Flag = {
  name: 'ignore-running',
  kind: 'switch',
  group: 'Live target:',
  describe:
    'Go on although tasks of the target are running or queued: only where no worker is alive any more',
};

/** Of commands that open sealed secrets. */
export const IDENTITY_FILE: Flag = {
  name: 'identity-file',
  kind: 'text',
  group: 'Secrets:',
  describe:
    'age identities that open sealed secrets, one a line; else LIFEBOAT_IDENTITY_FILE. awskms: asks the KMS keys alone',
};

/** Of commands that make backups. */
export const SEAL_TO: Flag = {
  name: 'seal-to',
  kind: 'list',
  group: 'Secrets:',
  describe:
    'Seal secrets for this recipient: age1…, or awskms://KEY?region=REGION; repeatable, each opens them alone',
};

/** Of commands that load rows, or try to. */
const RESTORE = 'Restore:';

export const IN_FLIGHT: Flag = {
  name: 'in-flight',
  kind: 'text',
  group: RESTORE,
  choices: ['resume', 'fail', 'exclude'],
  fallback: 'resume',
  describe:
    'Unfinished runs go on with what had not ended, end as failed with a note, or are left out with all that is theirs',
};

export const UNREADABLE: Flag = {
  name: 'unreadable',
  kind: 'text',
  group: RESTORE,
  choices: ['keep'],
  describe: 'Restore secrets that no known key reads as they are, when the target has another Fernet key',
};

export const ENCRYPT_CLEAR: Flag = {
  name: 'encrypt-clear',
  kind: 'switch',
  group: RESTORE,
  describe: 'Encrypt secrets that the source stored in clear with the target’s Fernet key',
};

export function restoreJobs(describe: string): Flag {
  return { name: 'jobs', kind: 'count', group: RESTORE, fallback: 2, describe };
}

const STRATEGY_ALIASES = { do_nothing: 'skip' };

/** `skip`, `append` and `replace` of variables and connections. */
export function strategyFlag(name: 'variables' | 'connections'): Flag {
  return {
    name,
    kind: 'text',
    group: RESTORE,
    choices: ['skip', 'append', 'replace'],
    aliases: STRATEGY_ALIASES,
    fallback: 'append',
    describe: `${name === 'variables' ? 'Variables' : 'Connections'} of the backup: skip them (also DO_NOTHING), append the missing ones, or replace those of the same key too`,
  };
}

export const POSITIONAL_DIRECTORY: { readonly name: string; readonly describe: string } = {
  name: 'dir',
  describe: 'Where the files are: ./DIR, file:///DIR or s3://BUCKET/PREFIX',
};

export const POSITIONAL_METHOD: { readonly name: string; readonly describe: string } = {
  name: 'method',
  describe: 'GET, POST, PUT, PATCH or DELETE',
};

export const POSITIONAL_PATH: { readonly name: string; readonly describe: string } = {
  name: 'path',
  describe: 'From the root of the API, its ids percent-encoded: /dags/my_dag/dagRuns',
};

export const POSITIONAL_OTHER: { readonly name: string; readonly describe: string } = {
  name: 'other',
  describe: 'Another backup of the same storage, named in the same ways',
};

export const POSITIONAL_BACKUP: { readonly name: string; readonly describe: string } = {
  name: 'backup',
  describe: 'Backup id, a unique prefix of one, latest or latest-verified',
};
