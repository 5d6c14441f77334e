import type { Host } from '../host.ts';
import type { Output } from '../output.ts';
import { redact } from '../../secrets/redact.ts';
import { styleOf } from '../text/style.ts';
import type { End, Reporter } from './reporter.ts';
import { errorText } from './text.ts';

/** The engine's events as they are, a line each; the last line is always the summary. Errors are told on stderr too. */
export function createJsonReporter(
  host: Host,
  out: Output,
  err: Output,
  mask: (text: string) => string = redact,
): Reporter {
  const style = styleOf(host.stderr, host.env, host.now);
  // Inside the values, so that the line stays JSON whatever a foreign message holds.
  const hide = (_field: string, value: unknown): unknown => (typeof value === 'string' ? mask(value) : value);
  const line = (value: object): void => {
    out.write(`${JSON.stringify(value, hide)}\n`);
  };
  return {
    report: line,
    say: () => undefined,
    clear: () => undefined,
    finish(end) {
      if (end.error !== undefined) err.write(`${errorText(end.error, end.stack, style)}\n`);
      for (const one of end.outcome?.lines ?? []) line(one);
      line({ event: 'summary', ...summaryOf(end) });
    },
  };
}

/** The summary without its `event`. */
export function summaryOf(end: End): Readonly<Record<string, unknown>> {
  const { error } = end;
  return {
    command: end.command,
    ok: end.exitCode === 0,
    exitCode: end.exitCode,
    ...end.outcome?.result,
    ...(end.stepFunctions === undefined ? {} : { stepFunctions: end.stepFunctions }),
    ...(error === undefined
      ? {}
      : {
          error: {
            kind: error.kind,
            message: error.message,
            ...(error.next === undefined ? {} : { next: error.next }),
            details: error.details,
          },
        }),
  };
}
