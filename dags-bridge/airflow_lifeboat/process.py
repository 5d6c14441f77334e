"""Runs the engine as a child and hands on what it reports."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import threading
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence

# Airflow kills a task 60 s after it asked it to end (killed_task_cleanup_time); the engine needs a moment to roll back
# and to tell Step Functions.
GRACE_SECONDS = 45
STDERR_LINES = 30


class EngineProcess:
    """One run of the command. Owns the child: it never outlives `run`."""

    def __init__(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        on_event: Callable[[Mapping[str, Any]], None],
        secrets: Optional[bytes] = None,
    ) -> None:
        self._argv = list(argv)
        self._env = dict(env)
        self._on_event = on_event
        self._secrets = secrets
        self._child: Optional[subprocess.Popen] = None
        self._lines: queue.Queue = queue.Queue()
        self._terminated = False
        self._all_read = False
        self.summary: Optional[Dict[str, Any]] = None
        self.plan: Optional[Dict[str, Any]] = None
        self.stderr: List[str] = []

    def run(self) -> int:
        """Returns the exit code, negative for a signal."""
        pipe = _Pipe(self._secrets)
        self._child = subprocess.Popen(
            [*self._argv, *pipe.flags],
            env=self._env,
            # Stays open while we live: the engine ends when it is closed.
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding='utf-8',
            errors='replace',
            # Airflow signals the process group and then calls on_kill; a second signal would cut the rollback short.
            start_new_session=True,
            pass_fds=pipe.inherited,
        )
        pipe.feed()
        threads = [
            threading.Thread(target=self._read_stdout, args=(self._child.stdout,), daemon=True),
            threading.Thread(target=self._read_stderr, args=(self._child.stderr,), daemon=True),
        ]
        for thread in threads:
            thread.start()
        try:
            self._relay()
            return self._child.wait()
        finally:
            self.stop()
            for thread in threads:
                thread.join(timeout=5)

    def terminate(self) -> None:
        """Asks it once to roll back and end; twice would end it at once."""
        if self._child is not None and self._child.poll() is None and not self._terminated:
            self._terminated = True
            self._child.terminate()

    def stop(self) -> None:
        """Ends it if it is still at work, and reads what it says at its end."""
        child = self._child
        if child is None or child.poll() is not None:
            self._drain()
            return
        self.terminate()
        try:
            child.wait(timeout=GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        self._drain()

    def _relay(self) -> None:
        while True:
            line = self._lines.get()
            if line is None:
                self._all_read = True
                return
            self._take(line)

    def _drain(self) -> None:
        while not self._all_read:
            try:
                line = self._lines.get(timeout=1)
            except queue.Empty:
                return
            self._all_read = line is None
            if line is not None:
                self._take(line)

    def _take(self, line: str) -> None:
        try:
            event = json.loads(line)
        except ValueError:
            self.stderr.append(line)
            return
        if isinstance(event, dict) and event.get('event') == 'summary':
            self.summary = event
        elif isinstance(event, dict):
            if event.get('event') == 'plan':
                self.plan = event['plan']
            self._on_event(event)

    def _read_stdout(self, stream: Any) -> None:
        for line in stream:
            self._lines.put(line)
        self._lines.put(None)

    def _read_stderr(self, stream: Any) -> None:
        for line in stream:
            self.stderr.append(line.rstrip('\n'))
            del self.stderr[:-STDERR_LINES]


class _Pipe:
    """Secrets on their way to the engine: in no argument, no file, and not in an environment that ps shows."""

    def __init__(self, secrets: Optional[bytes]) -> None:
        self._secrets = secrets
        self._ends = None if secrets is None else os.pipe()
        self.inherited = () if self._ends is None else (self._ends[0],)
        self.flags = [] if self._ends is None else ['--secrets-from', f'/dev/fd/{self._ends[0]}']

    def feed(self) -> None:
        """After the engine was started, which has its own end then."""
        if self._ends is None:
            return
        read_end, write_end = self._ends
        os.close(read_end)
        # More than the pipe holds waits until the engine reads, or ends.
        threading.Thread(target=self._write, args=(write_end,), daemon=True).start()

    def _write(self, write_end: int) -> None:
        try:
            with os.fdopen(write_end, 'wb') as stream:
                stream.write(self._secrets or b'')
        except OSError:
            # It ended without reading; its own words tell why.
            pass
