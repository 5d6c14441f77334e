import { BYTES, FLOATS, INTEGERS, JSONS, noise, pick, TEXTS, TIMES } from './hurtful-values.ts';
import type { Row } from './insert-rows.ts';

/** 250 characters: as long as the column. */
export const LONG_DAG_ID = `hurtful_${noise(242)}`;
export const RUN = 'manual__hurtful "run", \\N';
export const TASKS = 14;

export function taskInstances(): readonly Row[] {
  return Array.from({ length: TASKS }, (_, at) => ({
    ...taskKey(at),
    state: pick(['success', 'failed', 'skipped', 'upstream_failed', 'removed'], at),
    start_date: pick(TIMES, at),
    end_date: pick(TIMES, at + 1),
    queued_dttm: pick(TIMES, at + 2),
    updated_at: pick(TIMES, at + 3),
    trigger_timeout: pick(TIMES, at)?.replace(/[+-]\d\d(:\d\d)*(?= BC|$)/, '') ?? null,
    duration: pick(FLOATS, at),
    try_number: at,
    max_tries: pick(INTEGERS, at + 1),
    priority_weight: pick(INTEGERS, at + 2),
    pool: 'default_pool',
    pool_slots: pick(INTEGERS, at) ?? 1,
    pid: pick(INTEGERS, at + 4),
    hostname: pick(TEXTS, at),
    unixname: pick(TEXTS, at + 7),
    queue: pick(TEXTS, at + 14),
    operator: pick(TEXTS, at + 21),
    custom_operator_name: pick(TEXTS, at + 28),
    rendered_map_index: pick(TEXTS, at + 3),
    external_executor_id: pick(TEXTS, at + 10),
    next_method: pick(TEXTS, at + 17),
    task_display_name: pick(TEXTS, at + 24),
    executor: pick(TEXTS, at + 31),
    executor_config: pick(BYTES, at),
    next_kwargs: at === 0 ? null : pick(JSONS, at),
  }));
}

export function taskKey(at: number): Row & { readonly dag_id: string; readonly task_id: string } {
  const mapIndex = [-1, 0, 2_147_483_647, -2_147_483_648][at % 4] ?? -1;
  return { dag_id: LONG_DAG_ID, run_id: RUN, task_id: `task ${at} 😀 "x",\\.`, map_index: mapIndex };
}
