"""What the engine is told through its environment: database, keys, storage, task token. None of it in argv."""

from __future__ import annotations

import os
from typing import Any, Dict, Mapping, Optional
from urllib.parse import quote, urlencode

from airflow.configuration import conf

from airflow_lifeboat.api import api_environment
from airflow_lifeboat.aws import region
from airflow_lifeboat.compat import HAS_DATABASE

# libpq's parameters that decide how a connection is made; the rest of a live connection's are defaults.
KEPT_PARAMETERS = ('sslmode', 'sslrootcert', 'sslcert', 'sslkey', 'connect_timeout', 'options')


def engine_environment(
    context: Mapping[str, Any], storage: Optional[str], token: Optional[str], secrets: Mapping[str, str]
) -> Dict[str, str]:
    """The variables of this task, and what the engine needs besides. Values that somebody set win."""
    env = dict(os.environ)
    ti = context['ti']
    env['AIRFLOW_CTX_DAG_ID'] = ti.dag_id
    env['AIRFLOW_CTX_DAG_RUN_ID'] = ti.run_id
    env['AIRFLOW_CTX_TASK_ID'] = ti.task_id
    # The engine then ends with this process, even when it is killed.
    env['LIFEBOAT_WATCH_STDIN'] = '1'
    env.pop('LIFEBOAT_TASK_TOKEN', None)
    if token:
        env['LIFEBOAT_TASK_TOKEN'] = token
    if region():
        env['AWS_REGION'] = str(region())
    if storage:
        env['LIFEBOAT_STORAGE'] = storage
    if 'LIFEBOAT_FERNET_KEY' not in env:
        # Airflow may have it from a command or a secrets backend.
        env['AIRFLOW__CORE__FERNET_KEY'] = conf.get('core', 'fernet_key', fallback='')
    env.update(secrets)
    return env


def airflow_address(env: Mapping[str, str], api_conn_id: Optional[str]) -> Dict[str, str]:
    """The own Airflow: its database, or where tasks have none, and where a connection says so, its REST API."""
    if env.get('LIFEBOAT_AIRFLOW'):
        return {}
    if api_conn_id or not HAS_DATABASE:
        return api_environment(api_conn_id)
    found = {'LIFEBOAT_AIRFLOW': database_url()}
    schema = conf.get('database', 'sql_alchemy_schema', fallback='')
    if schema:
        found['AIRFLOW__DATABASE__SQL_ALCHEMY_SCHEMA'] = schema
    return found


def database_url() -> str:
    """Airflow's database as a URL. Where each connection gets a password of its own, one with a fresh one."""
    from airflow import settings

    engine = settings.engine
    if engine is not None and _signs_in_anew(engine):
        return live_url(engine)
    return conf.get('database', 'sql_alchemy_conn')


def _signs_in_anew(engine: Any) -> bool:
    # MWAA with RDS Proxy, and everybody else who gives out IAM tokens, listens to SQLAlchemy's do_connect.
    if not getattr(engine.dialect, '_has_events', False):
        return False
    return len(list(engine.dialect.dispatch.do_connect)) > 0


def live_url(engine: Any) -> str:
    """Opens one connection as Airflow does and returns what it was opened with."""
    pool = engine.pool.recreate()
    try:
        fairy = pool.connect()
        try:
            connection = getattr(fairy, 'dbapi_connection', None) or fairy.connection
            info = connection.info
            parameters = {name: info.dsn_parameters[name] for name in KEPT_PARAMETERS if name in info.dsn_parameters}
            if info.host.startswith('/'):
                parameters['host'] = info.host
                host = ''
            else:
                host = f'[{info.host}]' if ':' in info.host else info.host
            user = quote(info.user, safe='')
            password = quote(info.password or '', safe='')
            database = quote(info.dbname, safe='')
            query = f'?{urlencode(parameters)}' if parameters else ''
            return f'postgresql://{user}:{password}@{host}:{info.port}/{database}{query}'
        finally:
            fairy.close()
    finally:
        pool.dispose()
