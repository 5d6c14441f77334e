import type { ClientBase } from 'pg';
import type { ResolvedTable } from '../../versions/registry.ts';
import type { RestoreRequest } from '../api.ts';
import type { Blocker, RestoreWay } from '../plans.ts';
import type { TargetState } from '../target-state.ts';
import { findHindrances } from './facts.ts';
import type { Hindrances } from './facts.ts';

export interface Way {
  readonly via: RestoreWay;
  readonly viaReason: string;
  readonly blockers: readonly Blocker[];
}

/** What a restore does when nobody asks for a way. */
const DEFAULT_WAY: RestoreWay = 'shadow';

/** Rows that stay are carried over while everybody waits: so many take a fraction of a second. */
const MOST_CARRIED = 20_000;

type WayRequest = Pick<RestoreRequest, 'via' | 'tables' | 'dags' | 'excludeDags' | 'since' | 'clean'>;

/** How this restore gets its rows into the target, asked before any work. */
export async function chooseWay(
  client: ClientBase,
  state: TargetState,
  tables: readonly ResolvedTable[],
  request: WayRequest,
): Promise<Way> {
  const via = request.via ?? DEFAULT_WAY;
  if (via === 'in-place') {
    return { via, viaReason: request.via === undefined ? 'the default' : 'asked for', blockers: [] };
  }
  const history = state.tables.filter(({ restore }) => restore.kind === 'history').map(({ name }) => name);
  const reasons = [
    ...inThePlan(state, tables, request),
    ...(await findHindrances(client, state.live.schema, history)),
  ];
  return decide(request.via, reasons);
}

/** Pure. */
function decide(asked: RestoreWay | undefined, reasons: Hindrances): Way {
  const [first] = reasons;
  if (first === undefined) {
    return {
      via: 'shadow',
      viaReason: asked ? 'asked for, and nothing is in the way' : 'nothing is in the way',
      blockers: [],
    };
  }
  const why = reasons.join('; ');
  if (asked === undefined) return { via: 'in-place', viaReason: why, blockers: [] };
  return {
    via: 'shadow',
    viaReason: 'asked for',
    blockers: [
      {
        code: 'no-shadow',
        message: `The tables cannot be exchanged for others: ${why}.`,
        next: 'Leave out --via shadow: the restore then goes into the tables as they are.',
      },
    ],
  };
}

/** Reasons that the request and the rows of the target give. Pure. */
function inThePlan(
  state: TargetState,
  tables: readonly ResolvedTable[],
  { tables: some, dags, excludeDags, since, clean }: WayRequest,
): Hindrances {
  const set = tables.filter(({ restore }) => restore.kind === 'history');
  const missing = state.tables.filter(
    (table) => table.restore.kind === 'history' && !set.some(({ name }) => name === table.name),
  );
  const stay = set.reduce((sum, { name }) => {
    const count = state.counts.get(name) ?? { rows: 0, live: 0 };
    return sum + (clean ? count.live : count.rows);
  }, 0);
  return [
    ...((dags ?? excludeDags ?? since) ? ['only a part of the history is restored'] : []),
    ...((some ?? missing[0]) ? [`only some tables are restored`] : []),
    ...(stay > MOST_CARRIED
      ? [`${stay} rows of the target stay, and would be copied while its scheduler waits`]
      : []),
  ];
}
