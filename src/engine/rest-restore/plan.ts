import type { EngineContext } from '../api.ts';
import { type Manifest, storedTable } from '../manifest.ts';
import type {
  Blocker,
  MergeStrategy,
  PlanWarning,
  RestDagsPlan,
  RestRestorePlan,
  RestRunsPlan,
} from '../plans.ts';
import { createGaps, type Gaps } from '../rest/gaps.ts';
import { omittedWarnings } from '../sealed/open-backup.ts';
import type { RestRestoreRequest } from './api.ts';
import { type PlannedHistory, planHistory } from './history.ts';
import { type Journal, openJournal } from './journal.ts';
import { dagChooser, planDags } from './plan-dags.ts';
import { type PlannedRun, planRuns } from './plan-runs.ts';
import { type PlannedSettings, planSettings, type SettingsWish } from './plan-settings.ts';
import { planQueued, type QueuedAsset, readQueued } from './queued.ts';
import { type BackupReader, openBackupReader, type StoredRecord } from './records.ts';
import { asBefore } from './restore-runs.ts';
import { SETTINGS, type SettingSpec } from './settings.ts';
import { readTarget, type RestTarget, runsDue, type TargetDag } from './target.ts';
import { NEEDED, readUnfinished } from './unfinished.ts';

export interface PlannedRestRestore {
  readonly plan: RestRestorePlan;
  readonly settings: readonly PlannedSettings[];
  readonly dags: RestDagsPlan | null;
  readonly runs: readonly PlannedRun[];
  readonly history: PlannedHistory | null;
  readonly queued: readonly QueuedAsset[];
  readonly journal: Journal;
  /** DAGs of the target as they were before this restore. */
  readonly before: ReadonlyMap<string, TargetDag>;
}

/**
 * What a restore through the API will do, from what the backup has and the target shows.
 *
 * @throws LifeboatError 'refused' when no identity opens what is sealed, 'integrity' when a part is damaged
 */
export async function planRestRestore(
  ctx: EngineContext,
  request: RestRestoreRequest,
  manifest: Manifest,
): Promise<PlannedRestRestore> {
  const { client, via } = request;
  const reader = await openBackupReader(ctx, manifest, {
    fernetKeys: request.fernetKeys,
    identities: request.identities ?? [],
  });
  const gaps = createGaps();
  const target = await readTarget(client);
  const settings: PlannedSettings[] = [];
  for (const spec of SETTINGS) {
    if (storedTable(manifest, spec.table) === undefined) continue;
    const stored = await reader.settings(spec.table);
    const wish = wishFor(spec, request);
    settings.push(planSettings(spec, stored, target.settings[spec.kind], client.airflow, wish, gaps));
  }
  const journal = await openJournal(ctx, manifest.backupId, client.name);
  const before = { dags: asBefore(target.dags, journal) };
  const dags = await planDagsOf(ctx, request, manifest, reader, before);
  const runs = await planRunsOf(request, manifest, reader, before, gaps);
  const history = await planHistoryOf(request, manifest, reader, before, journal, gaps);
  const queued = await planQueuedOf(request, reader, before.dags, dags, gaps);
  const plan: RestRestorePlan = {
    kind: 'rest-restore',
    backupId: manifest.backupId,
    snapshotTime: manifest.snapshotTime,
    source: {
      kind: manifest.source.kind,
      environment: manifest.source.environment,
      airflow: manifest.source.airflow,
    },
    target: { name: client.name, airflow: client.airflow, api: client.dialect.api, via },
    pauseState: request.pauseState,
    settings: settings.map((one) => one.plan),
    dags,
    runs: runs?.plan ?? null,
    history: history?.plan ?? null,
    queued: queued.map(({ uri, dags: waiting }) => ({ uri, dags: waiting })),
    leftOut: gaps.list(),
    blockers: keyBlockers(request, reader),
    warnings: [...warningsOf(manifest, target), ...runWarnings(runs?.plan)],
  };
  return {
    plan,
    settings,
    dags,
    runs: runs?.planned ?? [],
    history,
    queued,
    journal,
    before: before.dags,
  };
}

function wishFor({ kind }: SettingSpec, request: RestRestoreRequest): SettingsWish {
  const strategy: MergeStrategy = kind === 'pools' ? 'replace' : request[kind];
  const keep = { variables: request.keepVariables, connections: request.keepConnections, pools: undefined }[
    kind
  ];
  return { strategy, ...(keep === undefined ? {} : { keep }) };
}

async function planDagsOf(
  ctx: EngineContext,
  request: RestRestoreRequest,
  manifest: Manifest,
  reader: BackupReader,
  target: Pick<RestTarget, 'dags'>,
): Promise<RestDagsPlan | null> {
  if (storedTable(manifest, 'dag') === undefined) return null;
  const { client, pauseState, catchup } = request;
  const now = ctx.now().getTime();
  return planDags(await all(reader.records('dag')), target.dags, {
    pauseState,
    catchup,
    isChosen: dagChooser(request.dags, request.excludeDags),
    runsDue: (dag) => runsDue(client, dag, now),
  });
}

async function all(rows: AsyncIterable<StoredRecord>): Promise<readonly StoredRecord[]> {
  const found: StoredRecord[] = [];
  for await (const row of rows) found.push(row);
  return found;
}

const NO_TABLES =
  'unfinished runs are not restored: the backup lacks a table that says what had been done of them';

/** Runs that had ended are history, which stays in the backup. */
async function planRunsOf(
  { client, dags, excludeDags, inFlight = 'resume' }: RestRestoreRequest,
  manifest: Manifest,
  reader: BackupReader,
  target: Pick<RestTarget, 'dags'>,
  gaps: Gaps,
): Promise<ReturnType<typeof planRuns> | null> {
  const missing = NEEDED.filter((name) => storedTable(manifest, name) === undefined);
  if (missing.length > 0) {
    for (const name of missing) gaps.whole(name, NO_TABLES);
    return null;
  }
  const runs = await readUnfinished(manifest, reader, dagChooser(dags, excludeDags));
  return planRuns(runs, { policy: inFlight, client, dags: target.dags }, gaps);
}

async function planHistoryOf(
  { client, dags, excludeDags, history, since }: RestRestoreRequest,
  manifest: Manifest,
  reader: BackupReader,
  target: Pick<RestTarget, 'dags'>,
  journal: Journal,
  gaps: Gaps,
): Promise<PlannedHistory | null> {
  if (history !== 'mark') return null;
  const isChosen = dagChooser(dags, excludeDags);
  const wish = {
    manifest,
    reader,
    client,
    dags: target.dags,
    isChosen,
    ...(since === undefined ? {} : { since }),
  };
  return planHistory(wish, journal, gaps);
}

async function planQueuedOf(
  { client, dags, excludeDags }: RestRestoreRequest,
  reader: BackupReader,
  before: ReadonlyMap<string, TargetDag>,
  plan: RestDagsPlan | null,
  gaps: Gaps,
): Promise<readonly QueuedAsset[]> {
  const { unpause = [], pause = [], held = [] } = plan ?? {};
  const stays = [...pause, ...held.map(({ dagId }) => dagId)];
  const isLetGo = (dagId: string): boolean =>
    unpause.includes(dagId) || (before.get(dagId)?.paused === false && !stays.includes(dagId));
  const queued = await readQueued(reader, dagChooser(dags, excludeDags));
  return planQueued(queued, { client, dags: before, isLetGo }, gaps);
}

function keyBlockers({ unreadable }: RestRestoreRequest, reader: BackupReader): readonly Blocker[] {
  const names = reader.wrongKeys();
  if (names.length === 0 || unreadable === 'keep') return [];
  return [
    {
      code: 'unreadable-secrets',
      message: `No known Fernet key reads a single secret of the backup: ${names.slice(0, 10).join(', ')}${names.length > 10 ? `, and ${names.length - 10} more` : ''}.`,
      next: 'Give the source’s key in LIFEBOAT_SOURCE_FERNET_KEY, or go on without these with --unreadable keep: they stay as they are in the target.',
    },
  ];
}

function runWarnings(runs: RestRunsPlan | undefined): readonly PlanWarning[] {
  const { tasksAgain = [], withoutInterval = 0 } = runs ?? {};
  const warnings: PlanWarning[] = [];
  if (tasksAgain.length > 0) {
    warnings.push({
      code: 'tasks-again',
      message: `${tasksAgain.length} tasks that had ended run again, since what they left in XCom cannot be written through this API: ${tasksAgain.slice(0, 10).join(', ')}${tasksAgain.length > 10 ? ', …' : ''}.`,
      next: '--in-flight fail ends their runs as failed instead, and --in-flight exclude leaves them out.',
    });
  }
  if (withoutInterval > 0) {
    warnings.push({
      code: 'interval-inferred',
      message: `${withoutInterval} runs get the data interval that their DAG’s timetable infers from the logical date: this Airflow’s API takes no other.`,
    });
  }
  return warnings;
}

function warningsOf(manifest: Manifest, { broken }: RestTarget): readonly PlanWarning[] {
  const unreadable = SETTINGS.filter(({ kind }) => broken[kind] > 0).map(({ kind }): PlanWarning => ({
    code: 'target-unreadable',
    message: `The target’s own API fails at ${broken[kind]} of its ${kind}: whether the backup has the same is not known, and such a one is not replaced.`,
    next: 'Its Fernet key may not read them; the log of its API server says why.',
  }));
  return [...omittedWarnings(manifest, ['variable', 'connection']), ...unreadable];
}
