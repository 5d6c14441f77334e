import type { DoctorCheck } from '../../engine/api.ts';
import { LifeboatError } from '../../errors.ts';
import type { Command, CommandInput, Outcome } from '../command.ts';
import { ifNamed, openEnvironment, openNamedStorage } from '../context.ts';
import type { Style } from '../text/style.ts';
import { wrap } from '../text/table.ts';
import { counted } from '../text/units.ts';

export const doctorCommand: Command = {
  name: 'doctor',
  summary: 'Check environment and storage, and say what to fix',
  details:
    'Checks what a backup and a restore will need: connection, privileges, Airflow version, schema drift, unreadable secrets, and what makes them restorable when this environment is gone; and whether the storage can be written, read, listed and cleaned. What is not configured is not checked. Ends with 1 when a check failed.',
  uses: ['environment', 'storage'],
  flags: [],
  examples: [
    ['$0 doctor --airflow postgresql://airflow@db/airflow', 'The environment'],
    [
      '$0 doctor --storage s3://dr-bucket/airflow --json',
      'The storage (and the environment, where one is configured)',
    ],
  ],
  run,
};

async function run(input: CommandInput): Promise<Outcome> {
  const found = await ifNamed(openEnvironment(input));
  const storage = await ifNamed(openNamedStorage(input));
  if (found === undefined && storage === undefined) {
    throw new LifeboatError('usage', 'There is nothing to check: no environment and no storage is named.', {
      next: 'Give --airflow or --storage, or set LIFEBOAT_AIRFLOW or LIFEBOAT_STORAGE.',
    });
  }
  const { doctor } = await import('../../engine/doctor.ts');
  const { report, signal, host } = input;
  try {
    const { checks } = await doctor(
      { report, signal, now: host.now, origin: host.origin, ...(storage === undefined ? {} : { storage }) },
      {
        ...(found === undefined ? {} : { environment: found.environment }),
        fernetKeys: found?.fernetKeys ?? [],
        fernetKeysLent: found?.fernetKeysLent ?? false,
        checkStorage: storage !== undefined,
      },
    );
    return diagnosis(checks);
  } finally {
    await storage?.close?.();
  }
}

function diagnosis(checks: readonly DoctorCheck[]): Outcome {
  const failed = checks.filter((check) => check.status === 'failed');
  const outcome: Outcome = {
    ending: 'done',
    result: { checks },
    text: (style) => doctorText(checks, style),
  };
  if (failed.length === 0) return outcome;
  return {
    ...outcome,
    error: new LifeboatError(
      'failed',
      `${counted(failed.length, 'check')} of ${String(checks.length)} failed.`,
      {
        next: 'Do what stands under each failed check, then run lifeboat doctor again.',
        details: { failed: failed.map((check) => check.check) },
      },
    ),
  };
}

function doctorText(checks: readonly DoctorCheck[], style: Style): string {
  const width = Math.max(0, ...checks.map((check) => check.check.length));
  const indent = ' '.repeat(width + 11);
  return checks
    .map((check) => {
      const paint = { ok: style.green, warning: style.yellow, failed: style.red }[check.status];
      const status = paint(check.status.padEnd(7));
      const found = wrap(check.found, style.width, indent);
      const fix =
        check.fix === undefined ? '' : `\n${indent}→ ${wrap(check.fix, style.width, `${indent}  `)}`;
      return `${status}  ${check.check.padEnd(width)}  ${found}${fix}`;
    })
    .join('\n');
}
