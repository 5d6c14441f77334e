import type { CleanupRequest, CleanupResult } from '../../engine/api.ts';
import { LifeboatError } from '../../errors.ts';
import type { Command, CommandInput, Outcome } from '../command.ts';
import { confirm } from '../confirm.ts';
import { liveRequest, openEnvironment, requireNamedEnvironment, withoutStorage } from '../context.ts';
import { DRY_RUN, IGNORE_RUNNING, KEEP_RUN, YES } from '../flags.ts';
import { namesRest } from '../rest.ts';
import type { Style } from '../text/style.ts';
import { table } from '../text/table.ts';
import { count, counted } from '../text/units.ts';
import { TASK_TOKEN_FLAGS } from '../task-token.ts';

export const cleanupCommand: Command = {
  name: 'cleanup',
  summary: 'Delete the history of an environment, as restore --clean does',
  details:
    'Deletes runs, task instances, XComs and the rest of the history in one transaction. Variables, connections, pools, DAG rows, log templates, users and roles, Celery’s tables and datasets stay, and so do live rows. Prints the plan first and asks for the name of the database, unless --yes. With --airflow https://… or mwaa://… it deletes through the REST API what that lets be deleted: runs with all that hangs on them, and queued events of assets, step by step; docs/rest.md says how, and the same command goes on after an interruption. With --storage or LIFEBOAT_STORAGE it takes the lock of a restore there.',
  uses: ['environment'],
  flags: [
    {
      name: 'catchup',
      kind: 'text',
      group: 'Cleanup:',
      choices: ['hold', 'start'],
      fallback: 'hold',
      describe:
        'Through the REST API: the newest scheduled run of each DAG stays, which tells Airflow how far its schedule is; or is deleted too, and schedules begin anew',
    },
    KEEP_RUN,
    IGNORE_RUNNING,
    ...TASK_TOKEN_FLAGS,
    DRY_RUN,
    YES,
  ],
  examples: [
    ['$0 cleanup --airflow postgresql://airflow@dr-db/airflow --dry-run', 'What would be deleted'],
    ['$0 cleanup --airflow postgresql://airflow@dr-db/airflow', 'Asks first'],
    ['$0 cleanup --airflow mwaa://dr?region=eu-west-1 --dry-run', 'The same through a REST API'],
  ],
  run,
};

async function run(input: CommandInput): Promise<Outcome> {
  const dryRun = input.args.switch('dry-run');
  if (!dryRun) requireNamedEnvironment(input);
  if (await namesRest(input)) {
    const { cleanRest } = await import('../rest-cleanup.ts');
    return cleanRest(input);
  }
  if (input.args.given('catchup')) {
    throw new LifeboatError('usage', '--catchup is for cleanups through a REST API.', {
      next: 'Leave it out: of a database all history is deleted, and schedules that are let go begin anew.',
    });
  }
  const { environment } = await openEnvironment(input);
  const request: CleanupRequest = {
    environment,
    dryRun,
    ...liveRequest(input),
    confirm: (plan) => {
      const deletes = plan.tables.reduce((sum, one) => sum + one.deletes, 0);
      return confirm(input, {
        warning: `This deletes ${counted(deletes, 'row')} of history from ${plan.target.name}.`,
        phraseIs: 'the name of the database',
        phrase: environment.database,
      });
    },
  };
  const { cleanup } = await import('../../engine/cleanup.ts');
  const result = await cleanup(withoutStorage(input), request);
  return { ending: 'done', result: { ...result }, text: (style) => cleanupText(result, style) };
}

function waitText({ locks }: CleanupResult): string {
  if (locks === undefined) return '';
  return ` Its scheduler waited at most ${counted(Math.ceil(locks.heldSeconds + 0.4), 'second')}.`;
}

function cleanupText(result: CleanupResult, style: Style): string {
  if (result.deleted === undefined) return style.dim('Dry run: nothing was changed.');
  const deleted = Object.entries(result.deleted).filter(([, rows]) => rows > 0);
  const total = deleted.reduce((sum, [, rows]) => sum + rows, 0);
  const head = `${style.green('Deleted')} ${counted(total, 'row')} of history from ${result.plan.target.name}.${waitText(result)}`;
  if (deleted.length === 0) return head;
  const columns = [{ title: 'Table' }, { title: 'Deleted', align: 'right' }] as const;
  return `${head}\n\n${table(
    columns,
    deleted.map(([name, rows]) => [name, count(rows)]),
    style,
  )}`;
}
