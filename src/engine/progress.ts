import type { EngineContext } from './api.ts';
import type { Phase } from './events.ts';

/** Often enough to look alive, seldom enough to cost nothing. */
const REPORT_EVERY_MS = 250;

export interface Progress {
  add(table: string, rows: number, bytes: number): void;
  /** Sends the final totals. */
  end(): void;
}

/** Running totals of one phase, reported a few times a second. */
export function createProgress(
  ctx: Pick<EngineContext, 'report' | 'now'>,
  phase: Phase,
  totals: { readonly totalRows?: number; readonly totalBytes?: number } = {},
): Progress {
  let rows = 0;
  let bytes = 0;
  let table = '';
  let last = 0;
  const send = (): void => {
    ctx.report({ event: 'progress', phase, table, rows, bytes, ...totals });
  };
  return {
    add: (name, moreRows, moreBytes) => {
      table = name;
      rows += moreRows;
      bytes += moreBytes;
      const now = ctx.now().getTime();
      if (now - last < REPORT_EVERY_MS) return;
      last = now;
      send();
    },
    end: () => {
      if (table !== '') send();
    },
  };
}
