import { readFileSync } from 'node:fs';
import { Ajv2020 } from 'ajv/dist/2020.js';
import type { ValidateFunction } from 'ajv';
import { LifeboatError } from '../errors.ts';
import { isPartKey, sealedKey } from './layout.ts';
import { checksumOf, NO_CHECKSUM, replaceChecksum } from './manifest-text.ts';
import { NEWEST_FORMAT_VERSION, REST_FORMAT_VERSION } from './manifest.ts';
import type { Manifest } from './manifest.ts';

/** A manifest of the largest backup is some hundred kilobytes; more is not a manifest. */
export const MAX_MANIFEST_BYTES: number = 64 * 1024 * 1024;

/**
 * Reads and proves a manifest. The format version is looked at first, so that a newer format gets its own answer.
 *
 * @throws LifeboatError 'unsupported' for a newer format, 'integrity' for everything else.
 */
export function decodeManifest(bytes: Uint8Array, backupId: string): Manifest {
  const damaged = (problem: string): LifeboatError =>
    new LifeboatError('integrity', `The manifest of backup ${backupId} cannot be trusted: ${problem}.`, {
      next: 'Use another backup (`lifeboat list`), and find out what changed this one.',
    });
  let text: string;
  let parsed: unknown;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    parsed = JSON.parse(text);
  } catch {
    throw damaged('it is not JSON');
  }
  const version = (parsed as { formatVersion?: unknown } | null)?.formatVersion;
  if (typeof version === 'number' && Number.isInteger(version) && version > NEWEST_FORMAT_VERSION) {
    throw new LifeboatError(
      'unsupported',
      `Backup ${backupId} has stored format ${version}; this Lifeboat reads formats up to ${NEWEST_FORMAT_VERSION}.`,
      {
        next: `Install a Lifeboat that reads format ${version}.`,
        details: { found: version, supported: NEWEST_FORMAT_VERSION },
      },
    );
  }
  const validate = manifestValidator();
  if (!validate(parsed)) {
    const first = validate.errors?.[0];
    throw damaged(`${first?.instancePath ?? ''} ${first?.message ?? 'it does not match the schema'}`);
  }
  if (checksumOf(replaceChecksum(text, parsed.checksum, NO_CHECKSUM)) !== parsed.checksum) {
    throw damaged('its checksum does not match');
  }
  // A member given twice, or text that another program reformatted: readers may disagree on what it says.
  if (`${JSON.stringify(parsed, null, 2)}\n` !== text) throw damaged('it is not as it was written');
  const rest = parsed.source.kind === 'rest';
  if (rest !== (version === REST_FORMAT_VERSION)) {
    throw damaged(`format ${String(version)} is not that of a backup of kind ${parsed.source.kind}`);
  }
  if (parsed.backupId !== backupId) throw damaged(`it belongs to backup ${parsed.backupId}`);
  for (const table of parsed.tables) {
    const stray = table.parts.find((part) => !isPartKey(part.key, backupId, table.name));
    if (stray) throw damaged(`it names ${stray.key} as a part of ${table.name}`);
    const wrong = table.parts.find(
      (part) => (part.sealed?.key ?? sealedKey(part.key)) !== sealedKey(part.key),
    );
    if (wrong) throw damaged(`it names ${wrong.sealed?.key} as the secrets of ${wrong.key}`);
    if (table.parts.some((part) => (part.sealed === undefined) !== (table.sealed === undefined))) {
      throw damaged(`it does not say where the secrets of ${table.name} are`);
    }
  }
  return parsed;
}

let validator: ValidateFunction<Manifest> | undefined;

function manifestValidator(): ValidateFunction<Manifest> {
  if (!validator) {
    const schema: unknown = JSON.parse(
      readFileSync(new URL('../../schema/manifest-v1.schema.json', import.meta.url), 'utf8'),
    );
    validator = new Ajv2020({ allErrors: false, strict: true }).compile<Manifest>(schema as object);
  }
  return validator;
}
