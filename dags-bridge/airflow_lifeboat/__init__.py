"""Lifeboat inside Airflow: DAGs that run the bundled engine. They hold no SQL and know no schema."""

from __future__ import annotations

from airflow_lifeboat.version import VERSION as __version__

__all__ = ['__version__', 'backup_dag', 'cleanup_dag', 'drill_dag', 'prune_dag', 'restore_dag', 'status_dag']


def __getattr__(name: str):
    """The factories are loaded when they are asked for, so that the version can be read without Airflow."""
    if name in __all__:
        from airflow_lifeboat import factories

        return getattr(factories, name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
