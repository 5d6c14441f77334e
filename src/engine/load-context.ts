import type { Client } from 'pg';
import type { ResolvedTable } from '../versions/registry.ts';
import type { EngineContext, MergeCounts } from './api.ts';
import type { Choice } from './chosen/conditions.ts';
import type { InsertInput, ParentIds } from './insert.ts';
import type { Manifest, ManifestTable } from './manifest.ts';
import type { MergeStrategy, PauseState } from './plans.ts';
import type { Progress } from './progress.ts';
import type { Rekeying } from './rekey.ts';
import type { Unsealing } from './sealed/read.ts';
import type { TargetState } from './target-state.ts';

export interface LoadRequest {
  readonly variables: MergeStrategy;
  readonly connections: MergeStrategy;
  readonly pauseState: PauseState;
  readonly fernetKeys: readonly string[];
  readonly sourceFernetKeys?: readonly string[];
  readonly keepVariables?: readonly string[];
}

export interface LoadContext {
  readonly ctx: EngineContext;
  readonly client: Client;
  readonly manifest: Manifest;
  readonly state: TargetState;
  readonly request: LoadRequest;
  readonly rekeying: Rekeying;
  /** Opens sealed secrets; absent when none are needed. */
  readonly unsealing?: Unsealing;
  readonly progress: Progress;
  readonly clean: boolean;
  /** Only a part of the backup is wanted: all stages are made beforehand, and hold that part. */
  readonly choice?: Choice;
  /** Rows of the past are written to a schema of their own, beside the live tables: see shadow/restore.ts. */
  readonly shadow?: ShadowLoad;
  /** Rows that stay in a table of the target after cleanup. */
  readonly kept: (table: string) => number;
  /** Filled as tables are loaded, read by the tables that refer to them. */
  readonly ids: Map<string, ParentIds>;
  /** Tables that are not locked → last id that stays free for the target's own new rows. Filled like ids. */
  readonly free: Map<string, number>;
  /** Tables that went through a stage; all others were empty. Filled as tables are loaded. */
  readonly staged: Set<string>;
  /** Runs of the backup that are not loaded, as DAG_ID/RUN_ID. Filled when the runs are staged. */
  readonly leftOutRuns: string[];
}

export interface ShadowLoad {
  readonly schema: string;
  /** SQL over a row of the live table: it comes into the shadow in the last moments, with the id that it has. */
  readonly stays: (table: ResolvedTable) => string;
  /** Tables whose ids others of the shadow refer to: an id that is taken has to move before these are loaded. */
  readonly referred: ReadonlySet<string>;
  /** Among them, those that the target may add rows to meanwhile that stay. */
  readonly growing: ReadonlySet<string>;
}

export interface LoadedTable {
  readonly table: string;
  readonly rows: number;
  /** Rows that could not keep their id. */
  readonly moved: number;
  readonly merge?: MergeCounts;
}

/** Entries that are not restored need no key. */
export function isSkipped(
  { variables, connections }: Pick<LoadRequest, 'variables' | 'connections'>,
  table: string,
): boolean {
  return table === 'variable' ? variables === 'skip' : table === 'connection' && connections === 'skip';
}

export function parentIds(load: LoadContext, parent: string): ParentIds {
  return load.ids.get(parent) ?? 'absent';
}

/** The schema that rows of the past are written to. */
export function historySchema({ shadow, state }: LoadContext): string {
  return shadow?.schema ?? state.live.schema;
}

/** Columns that the rows of a table have in the target: those of the backup, and those that came after it. */
export function loadedColumns(table: ResolvedTable, stored: ManifestTable): readonly string[] {
  return [...stored.columns, ...table.added.map(({ name }) => name)];
}

/** The parts of an INSERT from the stage that do not depend on the kind of table. */
export function insertInput(load: LoadContext, table: ResolvedTable, stored: ManifestTable): InsertInput {
  const live = load.state.live.tables.get(table.name);
  const notNull = [...(live?.columns.values() ?? [])].filter((column) => column.notNull);
  return {
    schema: table.restore.kind === 'history' ? historySchema(load) : load.state.live.schema,
    table,
    columns: loadedColumns(table, stored),
    notNull: new Set(notNull.map((column) => column.name)),
    parentIds: (parent) => parentIds(load, parent),
    mapOwnId: false,
    onlyUnmatched: false,
    snapshotTime: load.manifest.snapshotTime,
  };
}
