"""The one task of every DAG: runs the engine, and is its only caller."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence

from airflow.models import BaseOperator, Variable
from airflow.utils.log.secrets_masker import mask_secret

from airflow_lifeboat import metrics, notify
from airflow_lifeboat.environment import engine_environment
from airflow_lifeboat.errors import error_of
from airflow_lifeboat.node import ENGINE, find_node
from airflow_lifeboat.process import EngineProcess
from airflow_lifeboat.progress import ProgressLog
from airflow_lifeboat.settings import conf_of
from airflow_lifeboat.summary import xcom_of


class Call:
    """What a run asks the engine for."""

    def __init__(self, argv: Sequence[str], storage: Optional[str] = None, secrets: Optional[Mapping[str, str]] = None) -> None:
        self.argv = list(argv)
        self.storage = storage
        self.secrets = dict(secrets or {})


class LifeboatOperator(BaseOperator):
    """Runs `lifeboat COMMAND` in the environment of its own Airflow and returns the summary as XCom."""

    # None: what stands in them is stored in rendered_task_instance_fields.
    template_fields: Sequence[str] = ()
    ui_color = '#d9ead3'

    def __init__(
        self,
        *,
        command: str,
        plan_call: Callable[[Mapping[str, Any], str], Call],
        metrics_namespace: Optional[str] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.command = command
        self._plan_call = plan_call
        self._metrics_namespace = metrics_namespace
        self._process: Optional[EngineProcess] = None

    def execute(self, context: Any) -> Dict[str, Any]:
        conf = conf_of(context)
        token = str(conf['task_token']) if 'task_token' in conf else None
        if token:
            mask_secret(token)
        try:
            return self._run(context, conf, token)
        except BaseException as error:
            reported = (self._process.summary or {}).get('stepFunctions') if self._process else None
            if token and reported not in notify.FINAL:
                notify.fail_task_token(context, token, error)
            raise

    def _run(self, context: Any, conf: Mapping[str, Any], token: Optional[str]) -> Dict[str, Any]:
        call = self._plan_call(conf, self.dag_id)
        argv: List[str] = [find_node(), ENGINE, self.command, *call.argv, '--json']
        self.log.info('Running lifeboat %s', ' '.join(argv[2:]))
        env = engine_environment(context, call.storage, token, call.secrets)
        self._process = EngineProcess(argv, env, ProgressLog(self.log).event)
        exit_code = self._process.run()
        summary = self._process.summary
        if summary is not None:
            metrics.publish_summary(context, self._metrics_namespace, self.command, summary)
        if exit_code != 0 or summary is None:
            # A state machine was told of the end of the first try: a second one would report to nobody.
            raise error_of(self.command, exit_code, summary, token is None, '\n'.join(self._process.stderr))
        self.log.info('Done: lifeboat %s%s', self.command, _named(summary))
        return xcom_of(summary)

    def on_kill(self) -> None:
        if self._process is not None:
            self._process.terminate()


def _named(summary: Mapping[str, Any]) -> str:
    return f' of {summary["backupId"]}' if summary.get('backupId') else ''


def secret_variables(*names: str) -> Dict[str, str]:
    """Keys that a restore may need, from Airflow Variables (so also from a secrets backend)."""
    found = {}
    for name in names:
        value = Variable.get(name, default_var=None)
        if value:
            mask_secret(value)
            found[name] = value
    return found
