"""DAGs around the engine. Arguments are defaults; Airflow Variables beat them, and a run's conf beats both."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, List, Mapping, Optional, Sequence

from airflow_lifeboat import docs
from airflow_lifeboat.api import CONNECTION
from airflow_lifeboat.assembly import dag_with
from airflow_lifeboat.compat import DAG
from airflow_lifeboat.operator import Call, secret_variables
from airflow_lifeboat.settings import (
    OWN_VARIABLES,
    backup_name,
    backup_schedule,
    is_true,
    real_tables,
    require_confirmation,
    storage_of,
    strategy_of,
)


def backup_dag(
    dag_id: str = 'backup_metadata',
    *,
    schedule: Any = None,
    storage: Optional[str] = None,
    path_prefix: str = 'data',
    storage_type: Optional[str] = None,
    batch_size: Optional[int] = None,
    tables: Optional[Sequence[str]] = None,
    label: Optional[str] = None,
    options: Sequence[str] = (),
    retries: int = 1,
    timeout: timedelta = timedelta(hours=2),
    **common: Any,
) -> DAG:
    """A backup of this environment, by DR_BACKUP_SCHEDULE or `schedule`. A second try makes another backup."""
    del batch_size  # mwaa_dr's; Lifeboat streams.

    def plan_call(conf: Mapping[str, Any], _dag_id: str) -> Call:
        argv = _heartbeat(conf) + _listed('--tables', real_tables(conf.get('tables', tables)))
        argv += _valued('--label', conf.get('label', label))
        return Call([*argv, *options, *_dry_run(conf)], storage_of(conf, storage, storage_type, path_prefix))

    return dag_with(
        dag_id,
        'backup',
        plan_call,
        doc=docs.BACKUP,
        schedule=backup_schedule(schedule),
        paused=None,
        retries=retries,
        timeout=timeout,
        common=common,
    )


def restore_dag(
    dag_id: str = 'restore_metadata',
    *,
    backup: str = 'latest',
    clean: bool = False,
    variables: str = 'APPEND',
    connections: str = 'APPEND',
    storage: Optional[str] = None,
    path_prefix: str = 'data',
    storage_type: Optional[str] = None,
    batch_size: Optional[int] = None,
    tables: Optional[Sequence[str]] = None,
    options: Sequence[str] = (),
    timeout: timedelta = timedelta(hours=4),
    **common: Any,
) -> DAG:
    """A restore into this environment; its own run and the scheduler live on. Never retried."""
    del batch_size

    def plan_call(conf: Mapping[str, Any], own_dag_id: str) -> Call:
        require_confirmation(conf, own_dag_id, 'restores into this environment')
        argv = [backup_name(conf.get('backup', backup)), '--yes', *_heartbeat(conf)]
        argv += ['--variables', strategy_of(conf, 'variable', variables)]
        argv += ['--connections', strategy_of(conf, 'connection', connections)]
        argv += _listed('--keep-variables', OWN_VARIABLES)
        of_database = ['--clean'] if is_true(conf.get('clean', clean)) else []
        of_database += _listed('--tables', real_tables(conf.get('tables', tables)))
        # The source's would send the target's DAGs to the source.
        of_rest = _listed('--keep-connections', [common.get('api_conn_id') or CONNECTION])
        return Call(
            [*argv, *of_database, *options, *_dry_run(conf)],
            storage_of(conf, storage, storage_type, path_prefix),
            secret_variables('LIFEBOAT_SOURCE_FERNET_KEY'),
            # What is about a database is refused by the engine, rather than forgotten here.
            [*argv, *of_database, *of_rest, *options, *_dry_run(conf)],
        )

    return dag_with(
        dag_id,
        'restore',
        plan_call,
        doc=docs.RESTORE,
        schedule=None,
        paused=True,
        retries=0,
        timeout=timeout,
        common=common,
    )


def drill_dag(
    dag_id: str = 'drill_metadata',
    *,
    schedule: Any = None,
    backup: str = 'latest',
    variables: str = 'APPEND',
    connections: str = 'APPEND',
    storage: Optional[str] = None,
    path_prefix: str = 'data',
    storage_type: Optional[str] = None,
    options: Sequence[str] = (),
    retries: int = 1,
    timeout: timedelta = timedelta(hours=4),
    **common: Any,
) -> DAG:
    """All of a restore into this environment but its last step: changes nothing, and the storage keeps what it found."""

    def plan_call(conf: Mapping[str, Any], _dag_id: str) -> Call:
        argv = [backup_name(conf.get('backup', backup)), *_heartbeat(conf)]
        argv += ['--variables', strategy_of(conf, 'variable', variables)]
        argv += ['--connections', strategy_of(conf, 'connection', connections)]
        return Call(
            [*argv, *options],
            storage_of(conf, storage, storage_type, path_prefix),
            secret_variables('LIFEBOAT_SOURCE_FERNET_KEY'),
        )

    return dag_with(
        dag_id,
        'drill',
        plan_call,
        doc=docs.DRILL,
        schedule=schedule,
        paused=None,
        retries=retries,
        timeout=timeout,
        common=common,
    )


def status_dag(
    dag_id: str = 'status_metadata',
    *,
    schedule: Any = '@hourly',
    max_age: Optional[str] = None,
    storage: Optional[str] = None,
    path_prefix: str = 'data',
    storage_type: Optional[str] = None,
    options: Sequence[str] = (),
    retries: int = 1,
    timeout: timedelta = timedelta(minutes=10),
    **common: Any,
) -> DAG:
    """The age of the newest backup, as a metric; past `max_age` ('26h') the run fails, and so tells SNS."""

    def plan_call(conf: Mapping[str, Any], _dag_id: str) -> Call:
        return Call([*_valued('--max-age', max_age), *options], storage_of(conf, storage, storage_type, path_prefix))

    return dag_with(
        dag_id,
        'status',
        plan_call,
        doc=docs.STATUS,
        schedule=schedule,
        paused=None,
        retries=retries,
        timeout=timeout,
        common=common,
    )


def cleanup_dag(
    dag_id: str = 'cleanup_metadata',
    *,
    options: Sequence[str] = (),
    timeout: timedelta = timedelta(hours=1),
    path_prefix: Optional[str] = None,
    storage_type: Optional[str] = None,
    batch_size: Optional[int] = None,
    **common: Any,
) -> DAG:
    """Deletes the history of this environment, as `restore --clean` does. Never retried."""
    del path_prefix, storage_type, batch_size

    def plan_call(conf: Mapping[str, Any], own_dag_id: str) -> Call:
        require_confirmation(conf, own_dag_id, 'deletes the history of this environment')
        return Call(['--yes', *_heartbeat(conf), *options, *_dry_run(conf)])

    return dag_with(
        dag_id,
        'cleanup',
        plan_call,
        doc=docs.CLEANUP,
        schedule=None,
        paused=True,
        retries=0,
        timeout=timeout,
        common=common,
    )


def prune_dag(
    dag_id: str = 'prune_metadata',
    *,
    keep: Mapping[str, Any],
    schedule: Any = None,
    confirmed: bool = False,
    storage: Optional[str] = None,
    path_prefix: str = 'data',
    storage_type: Optional[str] = None,
    options: Sequence[str] = (),
    timeout: timedelta = timedelta(hours=1),
    **common: Any,
) -> DAG:
    """Removes old backups. `keep` holds the rules, {'daily': 7, 'weekly': 4}; with a schedule, give confirmed=True."""
    rules: List[str] = []
    for name, value in keep.items():
        rules += _valued(f'--keep-{name.replace("_", "-")}', value)

    def plan_call(conf: Mapping[str, Any], own_dag_id: str) -> Call:
        if not confirmed:
            require_confirmation(conf, own_dag_id, 'removes backups')
        return Call(['--yes', *rules, *options, *_dry_run(conf)], storage_of(conf, storage, storage_type, path_prefix))

    return dag_with(
        dag_id,
        'prune',
        plan_call,
        doc=docs.PRUNE,
        schedule=schedule,
        paused=True,
        retries=0,
        timeout=timeout,
        common=common,
    )


# --- parts ---


def _heartbeat(conf: Mapping[str, Any]) -> List[str]:
    return _valued('--heartbeat-every', conf.get('heartbeat_every'))


def _dry_run(conf: Mapping[str, Any]) -> List[str]:
    return ['--dry-run'] if is_true(conf.get('dry_run')) else []


def _listed(flag: str, names: Sequence[str]) -> List[str]:
    return [f'{flag}={",".join(names)}'] if names else []


def _valued(flag: str, value: Any) -> List[str]:
    return [] if value in (None, '') else [f'{flag}={value}']
