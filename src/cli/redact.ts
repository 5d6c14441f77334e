/**
 * The password of `scheme://user:password@host`. Airflow's URLs let it hold / ? # and :, people forget to encode an @:
 * the last @ of the word ends it. Hiding too much of a foreign URL is the smaller harm.
 */
const URL_PASSWORD = /([a-z][a-z0-9+.-]*:\/\/[^\s:@/'"]*):\S*@/gi;

/** `password=…` of a libpq connection string or a URL's query. */
const PASSWORD_PARAMETER = /\b(password|sslpassword)=('(?:[^'\\]|\\.)*'|"[^"]*"|[^\s&'"]+)/gi;

/**
 * The last line of defence before a terminal or a log: a server, an SDK or a person may quote a connection string
 * where no code of ours expects it.
 */
export function redact(text: string): string {
  if (!text.includes('://') && !/password=/i.test(text)) return text;
  return text.replace(URL_PASSWORD, '$1:***@').replace(PASSWORD_PARAMETER, '$1=***');
}

/** True when a word of the command line carries a password that `ps` shows to every user of the machine. */
export function carriesPassword(word: string): boolean {
  return redact(word) !== word;
}
