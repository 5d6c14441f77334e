import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { labPath } from './lab.ts';
import type { LabHome } from './lab.ts';

const OUR_DAGS = ['lifeboat_proof.py', 'lifeboat_latest.py'];

interface Change {
  readonly file: string;
  readonly from: string;
  readonly to: string;
}

const GO = `os.path.exists(os.path.join(os.environ["AIRFLOW_HOME"], "go"))`;

/**
 * airflow-lab's tasks in flight stay there for days. With these changes they end where AIRFLOW_HOME/go exists. Bodies
 * only: the DAGs that the scheduler sees are the same.
 */
const CHANGES: readonly Change[] = [
  {
    file: 'dags/lab_dags.py',
    from: 'time.sleep(86400)',
    to: `[time.sleep(0.5) for _ in iter(lambda: ${GO}, True)]`,
  },
  {
    file: 'dags/lab_dags.py',
    from: 'raise RuntimeError("will be retried in ten hours")',
    to: `assert ${GO}, "will be retried in ten hours"`,
  },
  {
    file: 'dags/lab_dags.py',
    from: 'return self.pokes > 0 and os.path.getsize(path) > self.pokes',
    to: `return os.path.getsize(path) > self.pokes if self.pokes > 0 else ${GO}`,
  },
  {
    file: 'plugins/lab_triggers.py',
    from: 'await asyncio.sleep(self.seconds)',
    to: `[await asyncio.sleep(0.5) for _ in range(int(self.seconds * 2)) if not ${GO}]`,
  },
  { file: 'plugins/lab_triggers.py', from: 'import asyncio\n', to: 'import asyncio\nimport os\n' },
];

/** Puts the DAGs and plugins of a proof into the home: airflow-lab's with the changes, and our own. */
export async function putDags(at: LabHome): Promise<void> {
  const lab = dirname(labPath());
  for (const name of ['dags', 'plugins']) await mkdir(join(at.home, name), { recursive: true });
  for (const file of new Set(CHANGES.map((change) => change.file))) {
    let text = await readFile(join(lab, file), 'utf8');
    for (const { from, to } of CHANGES.filter((change) => change.file === file)) {
      if (!text.includes(from)) throw new Error(`${file} of airflow-lab has no ${from}`);
      text = text.replaceAll(from, to);
    }
    await writeFile(join(at.home, file), text);
  }
  for (const name of ['lab_broken.py', 'lab_versioned.py']) {
    await copyFile(join(lab, 'dags', name), join(at.home, 'dags', name));
  }
  for (const name of OUR_DAGS) {
    await copyFile(fileURLToPath(new URL(`dags/${name}`, import.meta.url)), join(at.home, 'dags', name));
  }
  // The version of lab_versioned that populate ends with.
  await writeFile(join(at.home, 'lab_version.txt'), '2');
}

/** From now on no task of the environment holds. */
export async function letGo(at: LabHome): Promise<void> {
  await writeFile(join(at.home, 'go'), '');
}
