import type { LifeboatError } from '../errors.ts';
import type { Report } from '../engine/events.ts';
import type { Args } from './args.ts';
import type { Flag, GlobalGroup } from './flags.ts';
import type { Host } from './host.ts';
import type { Style } from './text/style.ts';

/** What a command has to say at its end; the reporter decides which half of it is shown. */
export interface Outcome {
  readonly ending: 'done' | 'difference';
  /** Fields of the JSON summary. */
  readonly result: Readonly<Record<string, unknown>>;
  /** JSON lines before the summary. */
  readonly lines?: readonly { readonly event: string; readonly [field: string]: unknown }[];
  /** For people, on stdout. */
  readonly text: (style: Style) => string;
  /** The command has a result and failed all the same: a doctor that found something. */
  readonly error?: LifeboatError;
}

export interface CommandInput {
  readonly args: Args;
  readonly host: Host;
  readonly report: Report;
  /** A line for people, at once. */
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
}

/** One verb of the command line, as data and one function. `run` loads what it needs by dynamic import. */
export interface Command {
  readonly name: string;
  /** One line for the list of commands. */
  readonly summary: string;
  /** More, for the command's own help. */
  readonly details?: string;
  readonly takesBackup?: boolean;
  /** A directory or s3:// URL to read, instead of a backup. */
  readonly takesDirectory?: boolean;
  /** An HTTP method and a path. */
  readonly takesRequest?: boolean;
  /** A second backup may follow the first. */
  readonly takesOther?: boolean;
  readonly flags: readonly Flag[];
  /** The groups of global flags that the command uses. */
  readonly uses: readonly GlobalGroup[];
  readonly examples: readonly (readonly [command: string, says: string])[];
  readonly run: (input: CommandInput) => Promise<Outcome>;
}
