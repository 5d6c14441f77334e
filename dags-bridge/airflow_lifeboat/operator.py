"""The one task of every DAG: runs the engine, and is its only caller."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence

from airflow_lifeboat import metrics, notify
from airflow_lifeboat.api import is_rest
from airflow_lifeboat.compat import BaseOperator, mask_secret, variable
from airflow_lifeboat.environment import airflow_address, engine_environment
from airflow_lifeboat.errors import error_of
from airflow_lifeboat.hidden import read_hidden
from airflow_lifeboat.node import ENGINE, find_node
from airflow_lifeboat.process import EngineProcess
from airflow_lifeboat.progress import ProgressLog
from airflow_lifeboat.settings import conf_of, is_true
from airflow_lifeboat.summary import xcom_of


# What exit code 3 means is in errors.py.
DIFFERENCE = 3
# They look at the storage alone.
WITHOUT_AIRFLOW = ('prune', 'status')
# What the API does not let in is told there, and the rest is done.
PARTLY = {'restore': 'restored', 'cleanup': 'cleaned'}


class Call:
    """What a run asks the engine for. `through_rest`: in place of `argv` where only the REST API is reached."""

    def __init__(
        self,
        argv: Sequence[str],
        storage: Optional[str] = None,
        secrets: Optional[Mapping[str, str]] = None,
        through_rest: Optional[Sequence[str]] = None,
    ) -> None:
        self.argv = list(argv)
        self.through_rest = self.argv if through_rest is None else list(through_rest)
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
        api_conn_id: Optional[str] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.command = command
        self._plan_call = plan_call
        self._metrics_namespace = metrics_namespace
        self._api_conn_id = api_conn_id
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
        env = engine_environment(context, call.storage, token, call.secrets)
        if self.command not in WITHOUT_AIRFLOW:
            env.update(airflow_address(env, self._api_conn_id))
        secrets = None
        through_rest = is_rest(env.get('LIFEBOAT_AIRFLOW', ''))
        flags = call.through_rest if through_rest else call.argv
        if self.command == 'backup' and through_rest and not is_true(conf.get('dry_run')):
            secrets = self._hidden_secrets(flags, env, token)
        # What an API does not take, or delete, is named, and the rest is done: that is no failure of the run.
        partly = (DIFFERENCE,) if self.command in PARTLY and through_rest else ()
        summary = self._engine(flags, env, secrets, token, context, partly)
        self.log.info('Done: lifeboat %s%s', self.command, _named(summary))
        return xcom_of(summary)

    def _hidden_secrets(self, flags: Sequence[str], env: Mapping[str, str], token: Optional[str]) -> Optional[bytes]:
        """What the API masks; nothing where the backup would have nobody to seal it for."""
        # A state machine waits for the backup, and not for its plan.
        quiet = {name: value for name, value in env.items() if name != 'LIFEBOAT_TASK_TOKEN'}
        self._engine([*flags, '--dry-run'], quiet, None, token)
        plan = (self._process.plan if self._process else None) or {}
        if (plan.get('secrets') or {}).get('mode') == 'omit' or not plan.get('masked'):
            return None
        return read_hidden(plan['masked'])

    def _engine(
        self,
        flags: Sequence[str],
        env: Mapping[str, str],
        secrets: Optional[bytes],
        token: Optional[str],
        reported: Optional[Mapping[str, Any]] = None,
        accepted: Sequence[int] = (),
    ) -> Dict[str, Any]:
        argv: List[str] = [find_node(), ENGINE, self.command, *flags, '--json']
        self.log.info('Running lifeboat %s', ' '.join(argv[2:]))
        self._process = EngineProcess(argv, env, ProgressLog(self.log).event, secrets)
        exit_code = self._process.run()
        summary = self._process.summary
        if summary is not None and reported is not None:
            metrics.publish_summary(reported, self._metrics_namespace, self.command, summary)
        if summary is not None and exit_code in accepted:
            self.log.warning('Done, but not all of it: see %s in the XCom of this task.', PARTLY[self.command])
        elif exit_code != 0 or summary is None:
            # A state machine was told of the end of the first try: a second one would report to nobody.
            raise error_of(self.command, exit_code, summary, token is None, '\n'.join(self._process.stderr))
        return summary

    def on_kill(self) -> None:
        if self._process is not None:
            self._process.terminate()


def _named(summary: Mapping[str, Any]) -> str:
    return f' of {summary["backupId"]}' if summary.get('backupId') else ''


def secret_variables(*names: str) -> Dict[str, str]:
    """Keys that a restore may need, from Airflow Variables (so also from a secrets backend)."""
    found = {}
    for name in names:
        value = variable(name)
        if value:
            mask_secret(value)
            found[name] = value
    return found
