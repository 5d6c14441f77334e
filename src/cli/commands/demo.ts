import type { Command, CommandInput, Outcome } from '../command.ts';

export const demoCommand: Command = {
  name: 'demo',
  summary: 'The whole story on an embedded Postgres, in under a minute',
  details:
    'Starts a Postgres of its own in a temporary folder, loads the metadata of a real Airflow, backs it up, wrecks the database, restores it and compares row for row. Leaves nothing behind and touches nothing else.',
  uses: [],
  flags: [],
  examples: [['$0 demo', 'Needs no configuration']],
  run,
};

async function run({ say, signal, host }: CommandInput): Promise<Outcome> {
  const { runDemo } = await import('../../demo/demo.ts');
  const result = await runDemo({ say, signal, now: host.now });
  // The story was told while it happened.
  return { ending: 'done', result: { ...result }, text: () => '' };
}
