import type { Command } from '../command.ts';
import { activateCommand } from './activate.ts';
import { backupCommand } from './backup.ts';
import { cleanupCommand } from './cleanup.ts';
import { demoCommand } from './demo.ts';
import { diffCommand } from './diff.ts';
import { doctorCommand } from './doctor.ts';
import { drillCommand } from './drill.ts';
import { exportCommand } from './export.ts';
import { importCommand } from './import.ts';
import { listCommand } from './list.ts';
import { pruneCommand } from './prune.ts';
import { restCommand } from './rest.ts';
import { restoreCommand } from './restore.ts';
import { showCommand } from './show.ts';
import { statusCommand } from './status.ts';
import { verifyCommand } from './verify.ts';

/** In the order of the help, which is the order in which an operator meets them. */
export const COMMANDS: readonly Command[] = [
  backupCommand,
  listCommand,
  showCommand,
  verifyCommand,
  diffCommand,
  drillCommand,
  restoreCommand,
  activateCommand,
  cleanupCommand,
  pruneCommand,
  exportCommand,
  importCommand,
  statusCommand,
  doctorCommand,
  restCommand,
  demoCommand,
];
