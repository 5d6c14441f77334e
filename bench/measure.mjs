// Runs one command and measures it: wall time, CPU time and peak memory of the process and everything it starts.
import { spawn } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import { clearInterval, setInterval } from 'node:timers';

const SAMPLE_MS = 50;

/**
 * Process ids of `root` and its descendants. Only their own files are read (/proc/PID/task/TID/children, proc(5)): looking
 * through all processes took a tenth of a core.
 */
function processTree(root) {
  const tree = [root];
  for (const pid of tree) tree.push(...childrenOf(pid));
  return tree;
}

function childrenOf(pid) {
  try {
    return readdirSync(`/proc/${pid}/task`).flatMap((thread) =>
      readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8').split(' ').filter(Boolean).map(Number),
    );
  } catch {
    // It, or a thread of it, ended between the listing and the look at it.
    return [];
  }
}

/** Peak resident size of one process in MB, as the kernel keeps it (VmHWM); 0 when it is gone. */
function peakMemory(pid) {
  try {
    const line = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
    return line === null ? 0 : Number(line[1]) / 1024;
  } catch {
    return 0;
  }
}

/**
 * Resolves to { seconds, cpuSeconds, peakMb, processes, stdout }; peakMb is of the largest process. Fails on an exit
 * code other than 0, because a run that failed is fast.
 */
export function measure(command, args, env = {}) {
  return new Promise((resolve, reject) => {
    const started = performance.now();
    // bash reports the CPU time of its child and of all that the child waited for; node does not.
    const timed = ['-c', `TIMEFORMAT='cpu %U %S'; time "$@"`, 'bash', command, ...args];
    const child = spawn('bash', timed, {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk) => (stdout += chunk));
    child.stderr.on('data', (chunk) => (stderr += chunk));
    const peaks = new Map();
    const sampler = setInterval(() => {
      for (const pid of processTree(child.pid)) {
        if (pid !== child.pid) peaks.set(pid, Math.max(peaks.get(pid) ?? 0, peakMemory(pid)));
      }
    }, SAMPLE_MS);
    child.on('error', reject);
    child.on('close', (code) => {
      clearInterval(sampler);
      const seconds = (performance.now() - started) / 1000;
      if (code !== 0) return reject(new Error(`${command} ${args[0]} ended with ${code}:\n${stderr}`));
      const cpu = /^cpu (\S+) (\S+)$/m.exec(stderr);
      const cpuSeconds = Number(cpu[1]) + Number(cpu[2]);
      resolve({ seconds, cpuSeconds, peakMb: Math.max(...peaks.values()), processes: peaks.size, stdout });
    });
  });
}

/** The middle value, or the mean of the two in the middle. */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return sorted.length % 2 === 1 ? sorted[Math.floor(middle)] : (sorted[middle - 1] + sorted[middle]) / 2;
}
