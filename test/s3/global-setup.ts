import type { TestProject } from 'vitest/node';
import { startVersitygw } from '../helpers/versitygw.ts';
import type { S3Server } from '../helpers/versitygw.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    s3: S3Server;
  }
}

/** One versitygw for the whole suite. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const { server, stop } = await startVersitygw('contract');
  project.provide('s3', server);
  return stop;
}
