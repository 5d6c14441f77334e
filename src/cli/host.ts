/**
 * The process as the command line sees it. main.ts fills it from `process`; everything else takes it as an
 * argument, so that tests run commands with their own streams, environment and clock.
 */
export interface Host {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdin: NodeJS.ReadableStream & { readonly isTTY?: boolean };
  readonly stdout: OutputStream;
  readonly stderr: OutputStream;
  readonly now: () => Date;
  /** Names this process to whoever finds its lock or its connection: "pid 4711 on host". */
  readonly origin: string;
  /** Aborted by the first SIGINT or SIGTERM, with a LifeboatError of kind interrupted as the reason. */
  readonly signal: AbortSignal;
  /** Rejects when something fails outside every promise that is awaited. */
  readonly fatal: Promise<never>;
}

export type OutputStream = NodeJS.WritableStream & { readonly isTTY?: boolean; readonly columns?: number };
