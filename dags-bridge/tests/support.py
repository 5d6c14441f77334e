"""What the tests share: a run's context, and the log of a task."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from types import ModuleType, SimpleNamespace
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


class FakeBoto:
    """boto3 as far as the bridge calls it, in its place; what it is asked to send is handed out."""

    def __init__(self, broken: Optional[Exception] = None) -> None:
        self._sent: List[Dict[str, Any]] = []
        self._broken = broken

    def __enter__(self) -> List[Dict[str, Any]]:
        boto3, botocore, config = ModuleType('boto3'), ModuleType('botocore'), ModuleType('botocore.config')
        boto3.client = self._client  # type: ignore[attr-defined]
        config.Config = dict  # type: ignore[attr-defined]
        fakes = {'boto3': boto3, 'botocore': botocore, 'botocore.config': config}
        self._before = {name: sys.modules.get(name) for name in fakes}
        sys.modules.update(fakes)
        return self._sent

    def __exit__(self, *_: Any) -> None:
        for name, module in self._before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module

    def _client(self, service: str, region_name: Optional[str], config: Any) -> Any:
        assert config['connect_timeout'] < 10, 'a report must not hold its task for long'

        def send(**call: Any) -> None:
            if self._broken is not None:
                raise self._broken
            self._sent.append({'service': service, 'region': region_name, **call})

        return SimpleNamespace(send_task_failure=send, publish=send, put_metric_data=send)


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
