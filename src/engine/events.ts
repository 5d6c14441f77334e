import type {
  BackupPlan,
  CleanupPlan,
  PrunePlan,
  RestBackupPlan,
  RestCleanupPlan,
  RestorePlan,
  RestRestorePlan,
} from './plans.ts';

/** A phase is one step of a command that a person would name; progress is counted within it. */
export type Phase =
  'check' | 'backup' | 'verify' | 'clean' | 'load' | 'finish' | 'prune' | 'export' | 'compare';

/** What the engine reports while it works. Text with progress bars, JSON lines and test collectors consume it. */
export type LifeboatEvent =
  | { readonly event: 'phase'; readonly phase: Phase; readonly message: string }
  | {
      readonly event: 'plan';
      readonly plan:
        | BackupPlan
        | RestBackupPlan
        | RestorePlan
        | RestRestorePlan
        | CleanupPlan
        | RestCleanupPlan
        | PrunePlan;
    }
  | {
      /** Running totals of the phase; sent at most a few times a second. */
      readonly event: 'progress';
      readonly phase: Phase;
      readonly table: string;
      readonly rows: number;
      readonly bytes: number;
      /** Estimates; absent when nothing is known. */
      readonly totalRows?: number;
      readonly totalBytes?: number;
    }
  | {
      /** One table is done. */
      readonly event: 'table';
      readonly phase: Phase;
      readonly table: string;
      readonly rows: number;
      readonly bytes: number;
      readonly seconds: number;
    }
  | { readonly event: 'warning'; readonly code: string; readonly message: string; readonly next?: string };

export type Report = (event: LifeboatEvent) => void;
