import type { Client } from 'pg';

interface Answer {
  readonly rowCount: number | null;
}

/** Sends statements in one message, because others wait. The answer is an array only where there are more than one. */
export async function queryAll(client: Client, statements: readonly string[]): Promise<readonly Answer[]> {
  if (statements.length === 0) return [];
  const result = (await client.query(statements.join('; '))) as unknown;
  return (Array.isArray(result) ? result : [result]) as readonly Answer[];
}
