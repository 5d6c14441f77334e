/** What stands where a secret stood. */
const MASK = '***';

/** The password of `scheme://user:password@host`: to the last @ of the word, since a password may hold one unencoded. */
const URL_PASSWORD = /([a-z][a-z0-9+.-]*:\/\/[^\s:/@'"]*):[^\s'"]*@/gi;

/** `password=…` of a libpq connection string, of a URL's query, of an environment; quoted or not. */
const PASSWORD_PARAMETER =
  /((?:pg|ssl)?password|passwd|pwd)(\s*=\s*)('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^\s&'"]+)/gi;

/** A shorter secret is a word like any other, and masking it wherever it occurs would spoil every message. */
const SHORTEST_SECRET = 4;

/**
 * Masks what could be a password in text from a server, a library or a person: passwords of URLs and connection
 * strings, and every given secret, as it is and percent-encoded. For text that others wrote; our own sentences are
 * built without secrets, and a password such as `airflow` would make holes in them.
 */
export function redact(text: string, secrets: readonly (string | undefined)[] = []): string {
  const masked = text.replace(URL_PASSWORD, `$1:${MASK}@`).replace(PASSWORD_PARAMETER, `$1$2${MASK}`);
  const forms = secrets.flatMap((secret) =>
    secret === undefined ? [] : [secret, encodeURIComponent(secret)],
  );
  return [...new Set(forms)]
    .filter((form) => form.length >= SHORTEST_SECRET)
    .sort((one, other) => other.length - one.length)
    .reduce((result, form) => result.replaceAll(form, MASK), masked);
}
