"""What all DAGs have in common: a DAG with one task that calls the engine."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any, Callable, Dict, Mapping, Optional, Sequence

from airflow_lifeboat import metrics, notify
from airflow_lifeboat.compat import DAG
from airflow_lifeboat.operator import Call, LifeboatOperator

# The engine knows its own DAGs by the first one: a restore leaves their pause state alone.
TAGS = ['lifeboat', 'disaster-recovery']
START = datetime(2022, 1, 1, tzinfo=timezone.utc)

# Of the factories' common arguments, those that are the task's; the others are the DAG's.
TASK_ARGUMENTS = (
    'sns_topic_arn',
    'notify_success',
    'metrics_namespace',
    'api_conn_id',
    'pool',
    'queue',
    'executor_config',
    'owner',
)


def dag_with(
    dag_id: str,
    command: str,
    plan_call: Callable[[Mapping[str, Any], str], Call],
    *,
    doc: str,
    schedule: Any,
    paused: Optional[bool],
    retries: int,
    timeout: timedelta,
    common: Mapping[str, Any],
) -> DAG:
    of_task = {name: value for name, value in common.items() if name in TASK_ARGUMENTS}
    of_dag = {name: value for name, value in common.items() if name not in TASK_ARGUMENTS}
    dag = _dag(dag_id, doc, schedule, paused, **of_dag)
    _task(dag, command, plan_call, retries=retries, timeout=timeout, **of_task)
    return dag


def _dag(dag_id: str, doc: str, schedule: Any, paused: Optional[bool], tags: Sequence[str] = (), **more: Any) -> DAG:
    return DAG(
        dag_id=dag_id,
        schedule=schedule,
        start_date=START,
        catchup=False,
        # Two runs would only wait for each other's lock.
        max_active_runs=1,
        is_paused_upon_creation=paused,
        tags=[*TAGS, *(tag for tag in tags if tag not in TAGS)],
        doc_md=doc,
        **more,
    )


def _task(
    dag: DAG,
    command: str,
    plan_call: Callable[[Mapping[str, Any], str], Call],
    *,
    retries: int,
    timeout: timedelta,
    sns_topic_arn: Optional[str] = None,
    notify_success: bool = False,
    metrics_namespace: Optional[str] = None,
    **more: Any,
) -> None:
    LifeboatOperator(
        task_id=command,
        command=command,
        plan_call=plan_call,
        metrics_namespace=metrics_namespace,
        dag=dag,
        retries=retries,
        retry_delay=timedelta(minutes=5),
        execution_timeout=timeout,
        on_failure_callback=_both(notify.on_failure(sns_topic_arn), metrics.on_failure(metrics_namespace, command)),
        on_success_callback=notify.on_success(sns_topic_arn) if notify_success else None,
        **more,
    )


def _both(first: Any, second: Any) -> Any:
    """One callback: Airflow takes lists of them since 2.6."""

    def callback(context: Dict[str, Any]) -> None:
        first(context)
        second(context)

    return callback
