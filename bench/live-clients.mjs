// What an Airflow at work does to its database, over and over, while a restore goes on: how long each of them waited at
// most, what failed, and whether what they wrote is there afterwards. Rates and statements are those of section 2 of the
// reference measurements: heartbeats 10 and 1 times a second, log lines 20 times, the carrying task 5 times, and a
// scheduler's round 3 times.
import { setTimeout as sleep } from 'node:timers/promises';
import { performance } from 'node:perf_hooks';
import pg from 'pg';

const DAG = 'live_bench';
const RUN = 'manual__2026-01-01T00:00:00+00:00';
export const KEEP = `${DAG}/${RUN}`;

const SETUP = [
  `INSERT INTO dag (dag_id, is_paused, is_active, has_task_concurrency_limits, has_import_errors, max_active_tasks, max_active_runs)
   VALUES ('${DAG}', false, true, false, false, 16, 16)`,
  `INSERT INTO dag_run (dag_id, run_id, execution_date, start_date, state, run_type, data_interval_start, data_interval_end, clear_number)
   VALUES ('${DAG}', '${RUN}', now(), now(), 'running', 'manual', now(), now(), 0)`,
  `INSERT INTO task_instance (dag_id, run_id, task_id, map_index, state, try_number, max_tries, pool, pool_slots)
   VALUES ('${DAG}', '${RUN}', 'restore', -1, 'running', 1, 0, 'default_pool', 1)`,
  `INSERT INTO job (job_type, state, start_date, latest_heartbeat, hostname) VALUES
   ('SchedulerJob', 'running', now(), now(), 'bench'), ('TriggererJob', 'running', now(), now(), 'bench')`,
];

const BEAT = `UPDATE job SET latest_heartbeat = clock_timestamp() WHERE job_type = $1 AND hostname = 'bench'`;

/** One turn of each client. `n` counts the turns. */
const CLIENTS = {
  'scheduler heartbeat': { hz: 10, turn: (client) => client.query(named(BEAT, ['SchedulerJob'])) },
  'triggerer heartbeat': { hz: 1, turn: (client) => client.query(named(BEAT, ['TriggererJob'])) },
  'audit log': {
    hz: 20,
    turn: (client, n) =>
      client.query(
        named(
          `INSERT INTO log (dttm, dag_id, task_id, map_index, event, execution_date, extra)
           SELECT now(), '${DAG}', 'restore', -1, 'bench', execution_date, $1 FROM dag_run WHERE dag_id = '${DAG}'`,
          [String(n)],
        ),
      ),
  },
  'carrying task': {
    hz: 5,
    turn: (client, n) =>
      client.query(
        named(`UPDATE task_instance SET pid = $1 WHERE dag_id = '${DAG}' AND task_id = 'restore'`, [n]),
      ),
  },
  'scheduler round': { hz: 3, turn: schedulerRound },
};

function named(text, values = []) {
  // Prepared once and used throughout, as psycopg3 and poolers do: they must survive the exchange of the tables.
  return { name: `s${text.length}`, text, values };
}

async function schedulerRound(client) {
  await client.query('BEGIN');
  try {
    await client.query(named('SELECT pool, slots FROM slot_pool FOR UPDATE NOWAIT'));
    await client.query(
      named(`SELECT id FROM dag_run WHERE state = 'running' AND dag_id = '${DAG}' FOR UPDATE SKIP LOCKED`),
    );
    await client.query(
      named(
        `SELECT pool, state, sum(pool_slots) FROM task_instance WHERE state IN ('running', 'queued') GROUP BY pool, state`,
      ),
    );
    await client.query(named(`UPDATE dag_run SET last_scheduling_decision = now() WHERE dag_id = '${DAG}'`));
    await client.query('COMMIT');
  } catch (error) {
    await client.query('ROLLBACK');
    // What NOWAIT is for: the scheduler skips this round.
    if (error.code !== '55P03') throw error;
  }
}

/**
 * Starts them all on the database at `url`; `stop(from)` resolves to { longestMs: {client: ms}, exchangeMs, errors: [text],
 * missing: [text] }. exchangeMs is the longest wait of all that ended after `from` (performance.now()); the others wait for
 * processors and disks, not for locks.
 */
export async function startLiveClients(url) {
  const clients = [];
  const connect = async () => {
    const client = new pg.Client({ connectionString: url });
    client.on('error', () => undefined);
    await client.connect();
    clients.push(client);
    return client;
  };
  const observer = await connect();
  for (const sql of SETUP) await observer.query(sql);
  let working = true;
  const longestMs = {};
  const slow = [];
  const turns = {};
  const errors = [];
  const loops = Object.entries(CLIENTS).map(async ([name, { hz, turn }]) => {
    const client = await connect();
    longestMs[name] = 0;
    turns[name] = 0;
    while (working) {
      const from = performance.now();
      try {
        await turn(client, turns[name] + 1);
        turns[name] += 1;
      } catch (error) {
        errors.push(`${name}: ${error.message}`);
      }
      const took = performance.now() - from;
      longestMs[name] = Math.max(longestMs[name], took);
      if (took > 10) slow.push({ ended: performance.now(), took });
      await sleep(Math.max(0, 1000 / hz - took));
    }
  });
  const stop = async (from = 0) => {
    working = false;
    await Promise.all(loops);
    const missing = await lookForOwnRows(observer, turns);
    await Promise.all(clients.map((client) => client.end()));
    const exchangeMs = Math.max(0, ...slow.filter(({ ended }) => ended >= from).map(({ took }) => took));
    return { longestMs, exchangeMs, errors, missing };
  };
  return { stop };
}

async function lookForOwnRows(client, turns) {
  const { rows } = await client.query(
    `SELECT (SELECT count(*)::int FROM log WHERE dag_id = '${DAG}' AND event = 'bench') AS lines,
            (SELECT pid FROM task_instance WHERE dag_id = '${DAG}' AND task_id = 'restore') AS pid,
            (SELECT count(*)::int FROM job WHERE hostname = 'bench' AND state = 'running'
                AND latest_heartbeat > now() - interval '5 seconds') AS beating`,
  );
  const { lines, pid, beating } = rows[0];
  return [
    ...(lines === turns['audit log'] ? [] : [`${turns['audit log'] - lines} lines of the audit log`]),
    ...(pid === turns['carrying task'] ? [] : ['the last change of the carrying task']),
    ...(beating === 2 ? [] : [`${2 - beating} of 2 heartbeats`]),
  ];
}
