import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { inStep } from '../../src/engine/race.ts';

test('the next begins when the one before is free, and two are under way at most', async () => {
  const told: string[] = [];
  await inStep([1, 2, 3], async (item, free) => {
    told.push(`begin ${item}`);
    await sleep(1);
    free();
    await sleep(20);
    told.push(`end ${item}`);
  });
  expect(told).toEqual(['begin 1', 'begin 2', 'end 1', 'begin 3', 'end 2', 'end 3']);
});

test('a task that never says that it is free is waited for', async () => {
  const told: string[] = [];
  await inStep([1, 2], async (item) => {
    told.push(`begin ${item}`);
    await sleep(1);
    told.push(`end ${item}`);
  });
  expect(told).toEqual(['begin 1', 'end 1', 'begin 2', 'end 2']);
});

test('a failure while the next is under way is thrown when that one has ended, and no other begins', async () => {
  const told: string[] = [];
  const all = inStep([1, 2, 3], async (item, free) => {
    told.push(`begin ${item}`);
    free();
    await sleep(item * 10);
    told.push(`end ${item}`);
    if (item === 1) throw new Error('the first one');
  });
  await expect(all).rejects.toThrow('the first one');
  expect(told).toEqual(['begin 1', 'begin 2', 'end 1', 'end 2']);
});

test('a failure of the last one is thrown', async () => {
  const all = inStep([1, 2], async (item, free) => {
    free();
    await sleep(5);
    if (item === 2) throw new Error('the last one');
  });
  await expect(all).rejects.toThrow('the last one');
});
