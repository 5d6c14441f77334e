"""Tells others: SNS, and Step Functions where the engine could not. Both through boto3, which MWAA has."""

from __future__ import annotations

import json
import logging
from typing import Any, Dict, Mapping, Optional

from airflow_lifeboat.aws import client
from airflow_lifeboat.settings import conf_of, setting

log = logging.getLogger('airflow.task')

SUBJECT = 'MWAA DR DAG Failure'
# Limits of SendTaskFailure and Publish.
CAUSE_LENGTH = 32_768
MESSAGE_LENGTH = 200_000
# By task; as the engine names them. mwaa_dr has one for restore and cleanup.
FAILURES = {'backup': 'Backup Failure', 'drill': 'Drill Failure'}
# Reports of the engine after which there is nothing left to tell.
FINAL = ('success', 'failure', 'closed')


def run_result(context: Mapping[str, Any], status: str) -> Dict[str, Any]:
    """mwaa_dr's description of a run."""
    dag_run = context['dag_run']
    try:
        tasks = [f'{ti.task_id} => {ti.state}' for ti in dag_run.get_task_instances()]
    except Exception:  # The report matters more than the states in it.
        tasks = []
    return {'dag': dag_run.dag_id, 'dag_run': dag_run.run_id, 'tasks': tasks, 'status': status}


def fail_task_token(context: Mapping[str, Any], token: str, error: BaseException) -> None:
    """For an engine that crashed or never began. What goes wrong here must not hide why it did."""
    result = run_result(context, 'Fail')
    # Its words come from us and from the engine, which prints no token; still, nobody may learn it from here.
    result['lifeboat'] = {'error': {'message': str(error).replace(token, '***')}}
    name = FAILURES.get(context['ti'].task_id, 'Restore Failure')
    try:
        client('stepfunctions').send_task_failure(taskToken=token, error=name, cause=json.dumps(result)[:CAUSE_LENGTH])
        log.info('Step Functions was told of the failure.')
    except ImportError:
        log.error('Step Functions was not told of the failure: boto3 is not installed. The heartbeat will end the state.')
    except Exception as untold:  # Its message may quote what was sent.
        log.error('Step Functions was not told of the failure: %s.', type(untold).__name__)


def publish(context: Mapping[str, Any], topic: Optional[str], status: str, subject: str, text: Optional[str]) -> None:
    """To the topic of DR_SNS_TOPIC_ARN, else of the argument; to none when there is none."""
    arn = setting({}, None, 'DR_SNS_TOPIC_ARN', topic)
    if not arn:
        return
    result = run_result(context, status)
    if text:
        result['message'] = text
    token = conf_of(context).get('task_token')
    message = json.dumps(result, indent=2)[:MESSAGE_LENGTH]
    if token:
        message = message.replace(str(token), '***')
    try:
        client('sns').publish(TopicArn=arn, Subject=subject, Message=message)
    except ImportError:
        log.error('SNS was not told: boto3 is not installed.')
    except Exception as untold:
        log.error('SNS was not told: %s.', type(untold).__name__)


def on_failure(topic: Optional[str]) -> Any:
    def callback(context: Mapping[str, Any]) -> None:
        error = context.get('exception')
        publish(context, topic, 'Fail', SUBJECT, str(error) if error else None)

    return callback


def on_success(topic: Optional[str]) -> Any:
    def callback(context: Mapping[str, Any]) -> None:
        publish(context, topic, 'Success', 'MWAA DR DAG Success', None)

    return callback
