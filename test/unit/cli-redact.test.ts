import { expect, test } from 'vitest';
import { carriesPassword } from '../../src/cli/redact.ts';
import { redact } from '../../src/secrets/redact.ts';

const SECRET = 'h0rse/b@ttery?#:';

test.each([
  ['postgresql://airflow:plain@db:5432/airflow', 'postgresql://airflow:***@db:5432/airflow'],
  [`postgresql+psycopg2://airflow:${SECRET}@db/airflow`, 'postgresql+psycopg2://airflow:***@db/airflow'],
  ['invalid dsn "postgresql://u:p@h/d" given', 'invalid dsn "postgresql://u:***@h/d" given'],
  ["host=db password='it''s' user=u", "host=db password=***'s' user=u"],
  [
    'postgresql://h/d?user=u&password=pw&sslmode=require',
    'postgresql://h/d?user=u&password=***&sslmode=require',
  ],
  ['host=db sslpassword=abc', 'host=db sslpassword=***'],
  ['https://:token@proxy/', 'https://:***@proxy/'],
])('%s', (text, shown) => {
  expect(redact(text)).toBe(shown);
  expect(redact(text)).not.toContain('h0rse');
  expect(carriesPassword(text)).toBe(true);
});

test.each(['postgresql://airflow@db/airflow', 's3://bucket/prefix', './dir', '--label=a:b@c', 'mail a@b.c'])(
  '%s is left alone',
  (text) => {
    expect(redact(text)).toBe(text);
    expect(carriesPassword(text)).toBe(false);
  },
);
