"""What Airflow 3 has in other places: its tasks have the Task SDK, and no way to the metadata database."""

from __future__ import annotations

from typing import Any

try:
    from airflow.sdk import DAG, BaseOperator, Connection, Variable

    HAS_DATABASE = False
except ImportError:
    from airflow import DAG
    from airflow.models import BaseOperator, Connection, Variable

    HAS_DATABASE = True

try:
    from airflow.sdk.exceptions import AirflowException, AirflowFailException
except ImportError:
    from airflow.exceptions import AirflowException, AirflowFailException

try:
    from airflow.sdk.log import mask_secret
except ImportError:
    try:
        from airflow.sdk.execution_time.secrets_masker import mask_secret
    except ImportError:
        from airflow.utils.log.secrets_masker import mask_secret

__all__ = [
    'DAG',
    'HAS_DATABASE',
    'AirflowException',
    'AirflowFailException',
    'BaseOperator',
    'connection_of',
    'mask_secret',
    'variable',
]


def variable(name: str, default: Any = None) -> Any:
    """An Airflow Variable, from wherever Airflow has it."""
    if HAS_DATABASE:
        return Variable.get(name, default_var=default)
    return Variable.get(name, default=default)


def connection_of(conn_id: str) -> Any:
    """A connection; what Airflow raises when there is none, differs by version."""
    if HAS_DATABASE:
        return Connection.get_connection_from_secrets(conn_id)
    return Connection.get(conn_id)
