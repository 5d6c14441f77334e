import type { Client } from 'pg';
import type { Opener } from '../secrets/seal.ts';
import type { ResolvedTable } from '../versions/registry.ts';
import type { EngineContext, MergeCounts, RestoreRequest, RestoreResult } from './api.ts';
import type { ChosenFacts } from './chosen/facts.ts';
import type { LoadContext, LoadedTable } from './load-context.ts';
import type { HeldLocks } from './locks.ts';
import type { Manifest } from './manifest.ts';
import { createProgress } from './progress.ts';
import { createRekeying } from './rekey.ts';
import type { Rekeying, RekeyRequest } from './rekey.ts';
import { storedBytes } from './sealed/fields.ts';
import { unsealingFor } from './sealed/for-restore.ts';
import type { Unsealing } from './sealed/read.ts';
import type { TargetState } from './target-state.ts';

/** What both ways of a restore report. */
export type Work = Omit<NonNullable<RestoreResult['loaded']>, 'seconds' | 'locks'> & {
  readonly locks: HeldLocks;
};

export function createLoad(
  ctx: EngineContext,
  request: RestoreRequest,
  client: Client,
  input: {
    readonly manifest: Manifest;
    readonly state: TargetState;
    readonly tables: readonly ResolvedTable[];
    readonly chosen: ChosenFacts | undefined;
    readonly deleted: ReadonlyMap<string, number>;
    readonly rekeying: Rekeying;
    readonly unsealing?: Unsealing;
  },
): LoadContext {
  const { manifest, state, tables, chosen, deleted, ...secrets } = input;
  const stored = manifest.tables.filter((table) => tables.some(({ name }) => name === table.name));
  const progress = createProgress(ctx, 'load', {
    totalRows: stored.reduce((sum, table) => sum + table.rows, 0),
    totalBytes: storedBytes(stored),
  });
  const kept = (table: string): number => (state.counts.get(table)?.rows ?? 0) - (deleted.get(table) ?? 0);
  return {
    ctx,
    client,
    manifest,
    state,
    request,
    ...secrets,
    progress,
    kept,
    ids: new Map(),
    free: new Map(),
    staged: new Set(),
    leftOutRuns: [],
    clean: request.clean,
    ...(chosen === undefined ? {} : { choice: chosen.choice }),
  };
}

function rekeyRequest(ctx: EngineContext, request: RestoreRequest, manifest: Manifest): RekeyRequest {
  return {
    targetKeys: request.fernetKeys,
    sourceKeys: request.sourceFernetKeys ?? [],
    storedFingerprints: manifest.secrets.fernetKeys,
    keepUnreadable: request.unreadable === 'keep',
    encryptClear: request.encryptClear ?? false,
    now: ctx.now(),
  };
}

export function mergeOf(loaded: readonly LoadedTable[], table: string): MergeCounts {
  return (
    loaded.find((one) => one.table === table)?.merge ?? { added: 0, replaced: 0, kept: 0, keptDifferent: [] }
  );
}

/** Counts by name, added up, in the order of the names. */
export function sumOf(
  one: Readonly<Record<string, number>>,
  other: Readonly<Record<string, number>>,
): Readonly<Record<string, number>> {
  const names = [...new Set([...Object.keys(one), ...Object.keys(other)])].sort();
  return Object.fromEntries(names.map((name) => [name, (one[name] ?? 0) + (other[name] ?? 0)]));
}

export interface Secrets {
  /** What a load context needs of them. */
  readonly load: { readonly rekeying: Rekeying; readonly unsealing?: Unsealing };
  /** @throws LifeboatError 'refused' when secrets were met that no known key reads */
  finish(): { readonly reencrypted: number; readonly encrypted: number };
}

export function createSecrets(
  ctx: EngineContext,
  request: RestoreRequest,
  manifest: Manifest,
  opener: Opener | undefined,
): Secrets {
  const rekeying = createRekeying(rekeyRequest(ctx, request, manifest));
  const unsealing = unsealingFor(ctx, request, opener);
  return {
    load: { rekeying, ...(unsealing ? { unsealing } : {}) },
    finish: () => {
      const rekeyed = rekeying.finish();
      return { ...rekeyed, reencrypted: rekeyed.reencrypted + (unsealing?.opened() ?? 0) };
    },
  };
}
