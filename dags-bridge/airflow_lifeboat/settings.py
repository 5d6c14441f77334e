"""One run's settings: the run's conf beats the Airflow Variable beats the factory's argument (mwaa_dr's contract)."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Mapping, Optional, Sequence

from airflow_lifeboat.compat import variable as airflow_variable
from airflow_lifeboat.errors import LifeboatFailure

# Airflow Variables that say where this environment's backups and metrics go; all but the last are mwaa_dr's. Those of a
# backup's source must not move the target's.
OWN_VARIABLES = (
    'DR_BACKUP_BUCKET',
    'DR_BACKUP_SCHEDULE',
    'DR_CONNECTION_RESTORE_STRATEGY',
    'DR_SNS_TOPIC_ARN',
    'DR_STORAGE_TYPE',
    'DR_VARIABLE_RESTORE_STRATEGY',
    'LIFEBOAT_METRICS_NAMESPACE',
)
# What mwaa_dr puts where no bucket was named.
NO_BUCKET = '--dummy-bucket--'
# mwaa_dr's list of tables has one that is not one: Lifeboat keeps pause states in `dag`.
PSEUDO_TABLES = ('active_dag',)


def conf_of(context: Mapping[str, Any]) -> Dict[str, Any]:
    """The run's conf; what is empty in it counts as absent, as a form leaves it."""
    conf = getattr(context.get('dag_run'), 'conf', None) or {}
    return {name: value for name, value in conf.items() if value is not None and value != ''}


def setting(conf: Mapping[str, Any], key: Optional[str], variable: Optional[str], argument: Any = None) -> Any:
    if key is not None and key in conf:
        return conf[key]
    if variable is not None:
        value = airflow_variable(variable)
        if value not in (None, ''):
            return value
    return argument


def backup_schedule(argument: Any) -> Any:
    """Read when the DAG file is parsed, so that the schedule changes with the Variable."""
    value = airflow_variable('DR_BACKUP_SCHEDULE')
    return argument if value in (None, '', 'None') else value


def storage_of(
    conf: Mapping[str, Any], storage: Optional[str], storage_type: Optional[str], path_prefix: str
) -> str:
    """The storage's URL. `storage` in conf, then mwaa_dr's bucket, then the argument, then LIFEBOAT_STORAGE."""
    if 'storage' in conf:
        return str(conf['storage'])
    kind = str(setting(conf, None, 'DR_STORAGE_TYPE', storage_type) or 'S3').upper()
    prefix = path_prefix.strip('/')
    if kind != 'S3' and not storage:
        home = os.environ.get('AIRFLOW_HOME') or os.path.expanduser('~/airflow')
        return os.path.join(home, 'dags', prefix)
    if kind == 'S3':
        bucket = setting(conf, 'bucket', 'DR_BACKUP_BUCKET')
        if bucket and bucket != NO_BUCKET:
            return f's3://{bucket}/{prefix}'.rstrip('/')
    found = storage or os.environ.get('LIFEBOAT_STORAGE')
    if found:
        return found
    raise LifeboatFailure(
        'No storage is named for the backups.\n'
        'What to do: set the Airflow Variable DR_BACKUP_BUCKET, or give the factory storage="s3://bucket/prefix", or set '
        'LIFEBOAT_STORAGE, or trigger the DAG with {"bucket": "…"} in its conf.'
    )


def strategy_of(conf: Mapping[str, Any], of: str, argument: str) -> str:
    """Of variables and connections. In mwaa_dr a BACKUP_RESTORE, into a new environment, replaces unless told not to."""
    chosen = str(
        setting(conf, f'{of}_restore_strategy', f'DR_{of.upper()}_RESTORE_STRATEGY', argument)
    ).upper()
    if str(conf.get('dr_type', '')).upper() == 'BACKUP_RESTORE' and chosen not in ('DO_NOTHING', 'SKIP'):
        return 'REPLACE'
    return chosen


def backup_name(name: Any) -> str:
    """Whoever may trigger the DAG names a backup in its conf, and must not be able to name a flag."""
    text = str(name)
    if text.startswith('-'):
        raise LifeboatFailure(f'{text} is no name of a backup.\nWhat to do: give an id, a unique prefix of one, or latest.')
    return text


def real_tables(tables: Any) -> List[str]:
    if isinstance(tables, str):
        tables = tables.split(',')
    return [name for name in tables or [] if name not in PSEUDO_TABLES]


def is_true(value: Any) -> bool:
    return value is True or str(value).lower() in ('true', 'yes', '1')


def require_confirmation(conf: Mapping[str, Any], dag_id: str, what: str) -> None:
    """A person says so in the run's conf, or a state machine does by waiting for it."""
    if is_true(conf.get('confirm')) or is_true(conf.get('dry_run')) or 'task_token' in conf:
        return
    raise LifeboatFailure(
        f'{dag_id} {what}, and nobody confirmed that.\n'
        'What to do: trigger it with the conf {"confirm": true}, or {"dry_run": true} to see its plan first.'
    )
