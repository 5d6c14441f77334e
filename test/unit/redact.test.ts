import { expect, it } from 'vitest';
import { redact } from '../../src/secrets/redact.ts';

it.each([
  ['postgresql://user:hunter2@host/db', 'postgresql://user:***@host/db'],
  ['postgresql+psycopg2://user:hunter2@host/db?x=1', 'postgresql+psycopg2://user:***@host/db?x=1'],
  ['at postgres://u:p@ss/w?rd#x@host/db now', 'at postgres://u:***@host/db now'],
  ['postgres://:hunter2@host/db', 'postgres://:***@host/db'],
  ['redis://:hunter2@broker:6379/0', 'redis://:***@broker:6379/0'],
  ['could not connect: host=db password=hunter2 user=me', 'could not connect: host=db password=*** user=me'],
  ["password = 'hun ter\\'2' user=me", 'password = *** user=me'],
  ['postgresql:///db?host=/tmp&password=hunter2&x=1', 'postgresql:///db?host=/tmp&password=***&x=1'],
  ['sslpassword=hunter2', 'sslpassword=***'],
  ['PGPASSWORD="hunter2" psql', 'PGPASSWORD=*** psql'],
  // A port is taken for a password where an @ follows: rather too much than too little.
  ['https://example.org:8080/path?x=@y', 'https://example.org:***@y'],
  ['https://example.org:8080/path', 'https://example.org:8080/path'],
  ['nothing to hide: 12:30, a@b.c', 'nothing to hide: 12:30, a@b.c'],
])('masks the passwords of %s', (text, masked) => {
  expect(redact(text)).toBe(masked);
});

it('masks given secrets, the longest first, percent-encoded ones too', () => {
  expect(redact('key abc/def, abc%2Fdef, abc/def-longer', ['abc/def', 'abc/def-longer'])).toBe(
    'key ***, ***, ***',
  );
});

it('leaves text alone where a secret is missing or too short to be told from a word', () => {
  expect(redact('a table', [undefined, '', 'a'])).toBe('a table');
});
