import { describe, expect, test } from 'vitest';
import { toError } from '../../src/errors.ts';
import { isRestUrl, parseRestAddress } from '../../src/rest/address.ts';
import { mwaaEndpoint } from '../../src/rest/open.ts';
import { restPath } from '../../src/rest/path.ts';
import { queryText } from '../../src/rest/transport.ts';
import { offers, REST_DIALECTS, restDialect } from '../../src/versions/rest.ts';

const problemOf = (url: string, env = {}): string => {
  try {
    parseRestAddress(url, env);
    return 'none';
  } catch (thrown) {
    return toError(thrown).message;
  }
};

describe('an address of a REST API', () => {
  test.each([
    ['https://airflow.example.com', true],
    ['HTTP://airflow', true],
    [' mwaa://prod', true],
    ['postgresql://u@h/d', false],
    ['', false],
  ])('%j: %s', (url, expected) => {
    expect(isRestUrl(url)).toBe(expected);
  });

  test('credentials: a user in the URL, else the token, else user and password of the variables', () => {
    const credentials = (url: string, env = {}): unknown => {
      const address = parseRestAddress(url, env);
      return address.kind === 'http' ? address.credentials : undefined;
    };
    const all = { LIFEBOAT_REST_TOKEN: 't0ken', LIFEBOAT_REST_USER: 'u', LIFEBOAT_REST_PASSWORD: 'p' };
    expect(credentials('https://h')).toEqual({ kind: 'none' });
    expect(credentials('https://h', all)).toEqual({ kind: 'token', token: 't0ken' });
    expect(credentials('https://h', { ...all, LIFEBOAT_REST_TOKEN: '' })).toEqual({
      kind: 'password',
      user: 'u',
      password: 'p',
    });
    expect(credentials('https://a:b%40c@h', all)).toEqual({ kind: 'password', user: 'a', password: 'b@c' });
  });

  test('what is kept of the URL has no password', () => {
    const address = parseRestAddress('https://a:hush@h:8443/team/');
    expect(JSON.stringify({ ...address, credentials: 0 })).not.toContain('hush');
    expect(address).toMatchObject({ kind: 'http', url: new URL('https://h:8443/team/') });
  });

  test('MWAA: name, region, way', () => {
    expect(parseRestAddress('mwaa://My_Env-1?region=eu-west-1')).toEqual({
      kind: 'mwaa',
      environment: 'My_Env-1',
      region: 'eu-west-1',
      via: 'invoke',
    });
    expect(parseRestAddress('mwaa://prod?via=web', { AWS_REGION: 'us-gov-west-1' })).toMatchObject({
      region: 'us-gov-west-1',
      via: 'web',
    });
    expect(mwaaEndpoint('eu-west-1').href).toBe('https://env.airflow.eu-west-1.amazonaws.com/');
    expect(mwaaEndpoint('cn-north-1').hostname).toBe('env.airflow.cn-north-1.amazonaws.com.cn');
  });

  test.each([
    ['https://', {}, /cannot be read/],
    ['https://h/?x=1', {}, /query/],
    ['https://a:hush%@h', {}, /percent-encoded/],
    ['https://a@h', {}, /no password/],
    ['https://h', { LIFEBOAT_REST_PASSWORD: 'hush' }, /no user/],
    ['mwaa://', { AWS_REGION: 'eu-west-1' }, /names no environment/],
    ['mwaa://prod', {}, /No AWS region/],
    ['mwaa://prod?region=hush/1', {}, /No AWS region/],
    ['mwaa://prod?region=eu-west-1&role=x', {}, /unknown parameter role/],
    ['mwaa://prod?region=eu-west-1&via=cli', {}, /invoke or web/],
  ])('%s is refused', (url, env, says) => {
    const problem = problemOf(url, env);
    expect(problem).toMatch(says);
    expect(problem).not.toContain('hush');
  });
});

test('ids of people become one segment of a path each', () => {
  expect(
    restPath('/dags/{dag}/dagRuns/{run}', { dag: 'a b/ü?', run: 'manual__2026-01-01T00:00:00+00:00' }),
  ).toBe('/dags/a%20b%2F%C3%BC%3F/dagRuns/manual__2026-01-01T00%3A00%3A00%2B00%3A00');
  expect(restPath('/variables/{key}', { key: '..' })).toBe('/variables/%2E%2E');
  expect(restPath('/variables/{key}', { key: '{dag}' })).toBe('/variables/%7Bdag%7D');
});

test('a query: lists repeat, undefined is left out', () => {
  expect(queryText({ a: 1, b: ['x', 'y z'], c: undefined, d: true })).toBe('?a=1&b=x&b=y+z&d=true');
  expect(queryText({})).toBe('');
});

test.each([
  ['2.4.3', undefined],
  ['2.5.1', 'v1'],
  ['2.10.3', 'v1'],
  ['2.11.2+mwaa', 'v1'],
  ['3.0.6', 'v2'],
  ['3.12.0', 'v2'],
  ['4.0.0', undefined],
  ['dev', undefined],
])('Airflow %s has %s', (release, api) => {
  expect(restDialect(release)?.api).toBe(api);
});

test('what came within a major is compared as numbers', () => {
  expect(offers(REST_DIALECTS.v1, '2.10.1', 'createAssetEvent')).toBe(true);
  expect(offers(REST_DIALECTS.v1, '2.8.4', 'createAssetEvent')).toBe(false);
  expect(offers(REST_DIALECTS.v2, '3.0.0', 'createAssetEvent')).toBe(true);
});
