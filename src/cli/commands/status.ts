import type { StatusResult } from '../../engine/status.ts';
import type { Command, CommandInput, Outcome } from '../command.ts';
import { withEngine } from '../context.ts';
import type { Style } from '../text/style.ts';
import { counted, duration, time } from '../text/units.ts';

export const statusCommand: Command = {
  name: 'status',
  summary: 'Age of the newest complete backup, for monitoring',
  details:
    'Says how old the newest complete backup is: what happened in Airflow since then would be lost with the environment. With --max-age it ends with 3 when that is too old. Ends with 10 when there is no backup. Shows the last drill too. Reads manifests only; lifeboat verify reads the parts.',
  uses: ['storage'],
  flags: [
    {
      name: 'max-age',
      kind: 'text',
      group: 'Status:',
      describe: 'End with 3 when the newest complete backup is older, such as 90m, 26h or 2d',
    },
  ],
  examples: [
    ['$0 status --storage s3://dr-bucket/airflow', 'For people'],
    ['$0 status --storage s3://dr-bucket/airflow --max-age 26h --json', 'For an alarm on a nightly backup'],
  ],
  run,
};

async function run(input: CommandInput): Promise<Outcome> {
  const limit = input.args.text('max-age');
  const { parseDuration } = await import('../../config.ts');
  const request = limit === undefined ? {} : { maxAge: parseDuration(limit, '--max-age') };
  const { status } = await import('../../engine/status.ts');
  const result = await withEngine(input, (ctx) => status(ctx, request));
  return {
    ending: result.overdue ? 'difference' : 'done',
    result: { ...result },
    text: (style) => statusText(result, style),
  };
}

function statusText(result: StatusResult, style: Style): string {
  const age = duration(result.ageSeconds);
  const limit = result.maxAgeSeconds === null ? '' : ` (limit ${duration(result.maxAgeSeconds)})`;
  const head = result.overdue ? style.yellow('Too old') : style.green('Newest backup');
  const lines = [
    `${head}: ${result.backupId} shows ${time(result.snapshotTime)}, ${age} ago${limit}.`,
    `${counted(result.backups, 'complete backup')} in all.`,
    drillLine(result.lastDrill, style),
    ...provenLines(result),
    ...result.unreadable.map((id) => `! ${id} is newer, and its manifest cannot be read: it does not count.`),
    ...result.incomplete.map((id) => `! ${id} has no manifest: it is under way, or did not finish.`),
  ];
  return lines.join('\n');
}

function drillLine(last: StatusResult['lastDrill'], style: Style): string {
  if (last === null) return 'No drill yet: lifeboat drill latest tries whether it restores.';
  const { drillId, backupId, startedAt, target, seconds, result, problem } = last;
  if (result === 'unreadable') return `! The last drill, ${drillId}: ${problem ?? ''}`;
  const how = result === 'passed' ? style.green('PASSED') : style.red('FAILED');
  const why = problem === null ? '' : `: ${problem}`;
  return `Last drill: ${how} ${time(startedAt ?? '')}, ${backupId ?? 'a backup that could not be read'} in ${target ?? ''}, ${duration(seconds ?? 0)}${why}`;
}

/** Only where the line of the last drill does not say it. */
function provenLines({ lastDrill, provenBackup }: StatusResult): readonly string[] {
  if (lastDrill === null) return [];
  if (provenBackup === null) return ['! No backup is proven: none that is there passed its newest drill.'];
  if (provenBackup.drillId === lastDrill.drillId) return [];
  const { backupId, snapshotTime, ageSeconds } = provenBackup;
  const age = duration(ageSeconds);
  return [`Proven by an earlier drill: ${backupId} shows ${time(snapshotTime)}, ${age} ago.`];
}
