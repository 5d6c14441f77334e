import { expect, test } from 'vitest';
import { createDatabase } from '../helpers/databases.ts';
import { backUp, engine, restoreInto } from './engine.ts';

/** So large that its foreign keys, to dag_run and then to task_instance, are added before those of task_instance. */
const MANY_RESCHEDULES = `
  INSERT INTO task_reschedule (dag_id, task_id, run_id, map_index, try_number, start_date, end_date, duration, reschedule_date)
  SELECT dag_id, task_id, run_id, map_index, 1, now(), now(), random() * 1e9, now() + random() * interval '1 year'
  FROM generate_series(1, 30000), (SELECT * FROM task_instance LIMIT 1) one`;

/** Every foreign key that is added keeps its locks for so long that the other connections come to theirs meanwhile. */
const SLOW_LINKS = `
  CREATE FUNCTION public.slow_link() RETURNS event_trigger LANGUAGE plpgsql AS $$
  BEGIN
    IF current_query() LIKE '%FOREIGN KEY%' THEN PERFORM pg_sleep(0.3); END IF;
  END $$;
  CREATE EVENT TRIGGER slow_link ON ddl_command_end WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION public.slow_link()`;

test(
  'connections that add foreign keys to the same tables do not deadlock',
  { timeout: 120_000 },
  async () => {
    const source = await createDatabase();
    await (await source.client()).query(MANY_RESCHEDULES);
    const ctx = engine();
    await backUp(ctx, source);
    const target = await createDatabase({ from: 'fresh' });
    await (await target.client()).query(SLOW_LINKS);
    const { plan } = await restoreInto(ctx, target, { clean: true, via: 'shadow', jobs: 4 });
    expect(plan.via).toBe('shadow');
  },
);
