import type { LifeboatEvent } from '../../engine/events.ts';
import type { LifeboatError } from '../../errors.ts';
import type { Host } from '../host.ts';
import type { Output } from '../output.ts';
import { planText } from '../text/plan.ts';
import type { AnyPlan } from '../text/plan.ts';
import { styleOf } from '../text/style.ts';
import type { Style } from '../text/style.ts';
import { labelled, wrap } from '../text/table.ts';
import { createProgress, tableLine } from './progress.ts';
import type { Reporter } from './reporter.ts';

const CLEAR_LINE = '\r\u001B[2K';

/** Results on stdout, progress and warnings on stderr: a redrawn line on a terminal, else a line a table. */
export function createTextReporter(
  host: Host,
  out: Output,
  err: Output,
  showsPlan: (plan: AnyPlan) => boolean,
): Reporter {
  const outStyle = styleOf(host.stdout, host.env, host.now);
  const errStyle = styleOf(host.stderr, host.env, host.now);
  const redraws = host.stderr.isTTY === true && host.env.TERM !== 'dumb';
  const progress = createProgress();
  let drawn = false;

  const clear = (): void => {
    if (drawn) err.write(CLEAR_LINE);
    drawn = false;
  };
  const draw = (line: string): void => {
    if (!redraws) return;
    err.write(`${CLEAR_LINE}${line}`);
    drawn = true;
  };
  const say = (output: Output, text: string): void => {
    clear();
    if (text !== '') output.write(`${text}\n`);
  };

  function report(event: LifeboatEvent): void {
    switch (event.event) {
      case 'phase':
        draw(event.message.slice(0, errStyle.width - 1));
        break;
      case 'plan':
        if (showsPlan(event.plan)) say(out, `${planText(event.plan, outStyle)}\n`);
        break;
      case 'progress':
        // The terminal may have been resized since the start.
        draw(progress.line(event, host.now(), host.stderr.columns ?? errStyle.width));
        break;
      case 'table':
        if (!redraws) say(err, tableLine(event));
        break;
      case 'warning':
        say(err, warningText(event.message, event.next, errStyle));
        break;
    }
  }

  return {
    report,
    say: (line) => {
      say(out, line);
    },
    clear,
    finish(end) {
      if (end.outcome !== undefined) say(out, end.outcome.text(outStyle));
      if (end.error !== undefined) say(err, errorText(end.error, end.stack, errStyle));
      clear();
    },
  };
}

function warningText(message: string, next: string | undefined, style: Style): string {
  const head = labelled(style.yellow, 'warning:', message, style);
  return next === undefined ? head : `${head}\n  ${wrap(next, style.width, '  ')}`;
}

/** The sentence, the next step, and the stack where --debug asked for it. */
export function errorText(error: LifeboatError, stack: string | undefined, style: Style): string {
  const lines = [labelled(style.red, 'error:', error.message, style)];
  if (error.next !== undefined) lines.push(`  ${labelled(style.bold, 'next:', error.next, style)}`);
  if (stack !== undefined) lines.push(stack);
  return lines.join('\n');
}
