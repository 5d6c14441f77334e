import { redact } from '../secrets/redact.ts';

/** True when a word of the command line carries a password that `ps` shows to every user of the machine. */
export function carriesPassword(word: string): boolean {
  return redact(word) !== word;
}
