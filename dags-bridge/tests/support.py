"""What the tests share: a run's context, and the log of a task."""

from __future__ import annotations

import contextlib
import logging
import os
from types import SimpleNamespace
from typing import Any, Dict, Iterator, List, Optional

# An Airflow database of this release on PostgreSQL, given by the test that runs these.
DATABASE = os.environ['BRIDGE_DATABASE']
STORAGE = os.environ['BRIDGE_STORAGE']
TOKEN = 'AAAAKgAAAAIAAAAAAAAAAf3qX/very+secret=='


def context_of(dag: Any, conf: Optional[Dict[str, Any]] = None, exception: Any = None) -> Dict[str, Any]:
    """As Airflow hands it to `execute`, as far as the bridge looks at it."""
    (task,) = dag.tasks
    ti = SimpleNamespace(dag_id=dag.dag_id, run_id='manual__1', task_id=task.task_id, state='running')
    dag_run = SimpleNamespace(
        dag_id=dag.dag_id, run_id='manual__1', conf=conf or {}, get_task_instances=lambda: [ti]
    )
    return {'dag': dag, 'task': task, 'ti': ti, 'dag_run': dag_run, 'exception': exception}


def execute(dag: Any, conf: Optional[Dict[str, Any]] = None) -> Any:
    (task,) = dag.tasks
    return task.execute(context_of(dag, conf))


@contextlib.contextmanager
def logged() -> Iterator[List[str]]:
    """All that is logged meanwhile, by anybody."""
    lines: List[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    handler = Collect()
    loggers = [logging.getLogger(), logging.getLogger('airflow.task'), logging.getLogger('airflow.task.operators')]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield lines
    finally:
        for logger in loggers:
            logger.removeHandler(handler)


@contextlib.contextmanager
def environ(**values: Optional[str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    _set(values)
    try:
        yield
    finally:
        _set(before)


def _set(values: Dict[str, Optional[str]]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
