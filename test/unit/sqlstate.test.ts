import { inspect } from 'node:util';
import { DatabaseError } from 'pg';
import { describe, expect, it } from 'vitest';
import { LifeboatError } from '../../src/errors.ts';
import { describeDatabaseError } from '../../src/db/sqlstate.ts';

function databaseError(
  fields: Partial<DatabaseError> & { readonly code: string; readonly message: string },
): DatabaseError {
  return Object.assign(new DatabaseError(fields.message, 100, 'error'), { severity: 'ERROR', ...fields });
}

function describeAs(error: unknown): LifeboatError {
  const described = describeDatabaseError(error, 'db:5432/airflow');
  if (described instanceof LifeboatError) return described;
  throw new Error('not a LifeboatError');
}

describe('errors that quote rows', () => {
  it.each([
    databaseError({
      code: '23505',
      message: 'duplicate key value violates unique constraint "variable_key_uq"',
      detail: 'Key (key)=(hunter2) already exists.',
      table: 'variable',
      constraint: 'variable_key_uq',
    }),
    databaseError({
      code: '23502',
      message: 'null value in column "val" of relation "variable" violates not-null constraint',
      detail: 'Failing row contains (1, hunter2, null).',
      table: 'variable',
      column: 'val',
    }),
    databaseError({
      code: '22P02',
      message: 'invalid input syntax for type integer: "hunter2"',
      where: 'COPY variable, line 3, column val: "hunter2"',
    }),
    databaseError({ code: '22001', message: 'value too long', where: 'COPY variable, line 3: "hunter2"' }),
    databaseError({
      code: 'P0001',
      message: 'trigger of theirs: hunter2',
      hint: 'hunter2',
      table: 'variable',
    }),
    databaseError({
      code: '08001',
      message: 'could not connect: hunter2',
      detail: 'hunter2',
      table: 'variable',
    }),
    databaseError({ code: '42601', message: 'bad string postgresql://u:hunter2@h/d', table: 'variable' }),
    databaseError({ code: '28000', message: 'sslpassword hunter2 is wrong', table: 'variable' }),
  ])('keep names and drop values (%#)', (error) => {
    const described = describeAs(error);
    expect(described.message).toContain('table variable');
    expect(described.message).toContain('db:5432/airflow');
    expect(described.next).toMatch(/\S/);
    expect(described.details).toMatchObject({ sqlstate: error.code, table: 'variable' });
    expect(inspect(described, { depth: 10, showHidden: true })).not.toContain('hunter2');
  });

  it('name line and column of a COPY', () => {
    const where = 'COPY task_instance, line 712, column duration: "1,5"';
    const described = describeAs(databaseError({ code: '22P02', message: 'x', where }));
    expect(described.details).toMatchObject({ table: 'task_instance', column: 'duration', line: 712 });
  });
});

describe('errors that matter', () => {
  it.each([
    ['53100', /disk of the database server is full/],
    ['57P01', /shut down or an administrator/],
    ['57014', /cancelled/],
    ['55P03', /lock/],
    ['40P01', /deadlock/],
    ['42501', /may not/],
    ['42P01', /table is missing/],
    ['22001', /longer than the column/],
    ['23505', /same key/],
    ['28P01', /password/],
  ])('%s', (code, says) => {
    const described = describeAs(databaseError({ code, message: 'said by the server' }));
    expect(described.message).toMatch(says);
    expect(described.message).toMatch(/^[A-Z].*\.$/);
  });

  it('quotes the server where it names objects only, and keeps the stack for --debug', () => {
    const error = databaseError({ code: '42501', message: 'permission denied for table xcom' });
    const described = describeAs(error);
    expect(described.message).toContain('permission denied for table xcom');
    expect((described.cause as Error).stack).toContain('sqlstate.test');
  });

  it('tells an unknown SQLSTATE by its number', () => {
    expect(describeAs(databaseError({ code: '99Z99', message: 'hunter2' })).message).toContain('99Z99');
  });

  it('leaves other errors as they are', () => {
    const own = new LifeboatError('refused', 'x');
    expect(describeDatabaseError(own)).toBe(own);
    const system = Object.assign(new Error('x'), { code: 'ENOENT' });
    expect(describeDatabaseError(system)).toBe(system);
  });

  it('knows a database error of another copy of pg by its shape', () => {
    const foreign = Object.assign(new Error('x'), { code: '53100', severity: 'ERROR' });
    expect(describeAs(foreign).message).toMatch(/disk/);
  });
});
