"""Where the REST API of the own Airflow is, and who signs in: for an Airflow 3, whose tasks have no database."""

from __future__ import annotations

import os
import re
from typing import Any, Dict, Optional
from urllib.parse import quote, urlsplit, urlunsplit

from airflow_lifeboat.aws import region
from airflow_lifeboat.compat import connection_of, mask_secret
from airflow_lifeboat.errors import LifeboatFailure

CONNECTION = 'lifeboat_api'


def is_rest(url: str) -> bool:
    return url.split('://', 1)[0] in ('http', 'https', 'mwaa')


def api_environment(conn_id: Optional[str] = None) -> Dict[str, str]:
    """What the engine reads: the connection, else on MWAA its InvokeRestApi with the role that the workers have."""
    connection = _connection(conn_id or CONNECTION)
    if connection is not None:
        return of_connection(connection)
    # MWAA sets it.
    name = os.environ.get('AIRFLOW_ENV_NAME')
    if name and region():
        return {'LIFEBOAT_AIRFLOW': f'mwaa://{quote(name, safe="")}?region={region()}'}
    raise LifeboatFailure(
        'Tasks of Airflow 3 have no database, and no REST API is named.\n'
        f'What to do: make the connection {conn_id or CONNECTION} of type http, with the address of the API server as host '
        '(https://airflow.example.com), and a user with its password, or a token as password without a user.'
    )


def of_connection(connection: Any) -> Dict[str, str]:
    """A host without a scheme is one of the connection's schema, as in Airflow's own HTTP connections."""
    host = connection.host or ''
    if host.startswith('mwaa://'):
        return {'LIFEBOAT_AIRFLOW': host}
    if '://' not in host:
        host = f'{connection.schema or "https"}://{host}'
    scheme, netloc, path, _, _ = urlsplit(host)
    if connection.port and ':' not in netloc.rsplit(']', 1)[-1]:
        netloc = f'{netloc}:{connection.port}'
    env = {'LIFEBOAT_AIRFLOW': urlunsplit((scheme, netloc, path, '', ''))}
    if not connection.password:
        return env
    mask_secret(connection.password)
    if connection.login:
        return {**env, 'LIFEBOAT_REST_USER': connection.login, 'LIFEBOAT_REST_PASSWORD': connection.password}
    return {**env, 'LIFEBOAT_REST_TOKEN': connection.password}


def _connection(conn_id: str) -> Any:
    try:
        return connection_of(conn_id)
    except Exception as absent:
        # Each version raises another one. Whatever it is, without the connection there is MWAA, or an error that says so.
        if re.search("not.?found|isn't defined", f'{type(absent).__name__} {absent}', re.IGNORECASE):
            return None
        raise
