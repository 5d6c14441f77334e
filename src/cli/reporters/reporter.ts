import type { Report } from '../../engine/events.ts';
import type { LifeboatError } from '../../errors.ts';
import type { Outcome } from '../command.ts';
import type { StepFunctionsReport } from '../step-functions.ts';

/** How a command line ended, whether or not it got as far as a command. */
export interface End {
  /** Null when the command line did not name one. */
  readonly command: string | null;
  readonly exitCode: number;
  readonly outcome?: Outcome;
  readonly error?: LifeboatError;
  /** What became of the report to a state machine, if there was one to make. */
  readonly stepFunctions?: StepFunctionsReport;
  /** With --debug only. */
  readonly stack?: string;
}

/** One way to show events and the end of a command. Nothing else writes to stdout. */
export interface Reporter {
  readonly report: Report;
  /** A line for people while the work goes on: the demo's story. JSON has no place for it. */
  readonly say: (line: string) => void;
  /** Takes a half-drawn line off the terminal before something else writes there. */
  readonly clear: () => void;
  readonly finish: (end: End) => void;
}
