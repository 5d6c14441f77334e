"""What alarms watch, in CloudWatch. Why by PutMetricData: docs/adr/0019-put-metric-data.md."""

from __future__ import annotations

import logging
import os
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from airflow_lifeboat.aws import client
from airflow_lifeboat.settings import conf_of, is_true, setting

log = logging.getLogger('airflow.task')

# Of which command, metric, unit, and where in the summary its value is.
MEASURED: Sequence[Tuple[str, str, str, Sequence[str]]] = (
    ('backup', 'BackupDuration', 'Seconds', ('manifest', 'durationSeconds')),
    ('backup', 'BackupBytes', 'Bytes', ('manifest', 'totals', 'bytes')),
    ('backup', 'BackupRows', 'Count', ('manifest', 'totals', 'rows')),
    ('restore', 'RestoreDuration', 'Seconds', ('loaded', 'seconds')),
    ('drill', 'DrillDuration', 'Seconds', ('seconds',)),
    ('status', 'BackupAge', 'Seconds', ('ageSeconds',)),
    ('status', 'ProvenBackupAge', 'Seconds', ('provenBackup', 'ageSeconds')),
)


def publish_summary(
    context: Mapping[str, Any], namespace: Optional[str], command: str, summary: Mapping[str, Any]
) -> None:
    """After the command. An age that is too high ends it with an error, and is what one wants to see."""
    done = summary.get('ok') is True
    if not done and command != 'status':
        return
    data = [_datum(name, unit, value) for name, unit, value in measured(command, summary)]
    # A zero each time, so that the metric is there before the first failure.
    _publish(context, namespace, [*data, _failures(command, 0)] if done else data)


def on_failure(namespace: Optional[str], command: str) -> Any:
    """Called by Airflow when no try is left, also for a task whose process is gone."""

    def callback(context: Mapping[str, Any]) -> None:
        _publish(context, namespace, [_failures(command, 1)])

    return callback


def measured(command: str, summary: Mapping[str, Any]) -> List[Tuple[str, str, float]]:
    found = []
    for of, name, unit, path in MEASURED:
        value: Any = summary
        for step in path:
            value = value.get(step) if isinstance(value, Mapping) else None
        if of == command and isinstance(value, (int, float)):
            found.append((name, unit, float(value)))
    return found


# --- parts ---


def _failures(command: str, count: int) -> Dict[str, Any]:
    return _datum(f'{command.capitalize()}Failures', 'Count', count)


def _datum(name: str, unit: str, value: float) -> Dict[str, Any]:
    # MWAA sets the name of the environment.
    environment = os.environ.get('AIRFLOW_ENV_NAME') or 'airflow'
    return {
        'MetricName': name,
        'Dimensions': [{'Name': 'Environment', 'Value': environment}],
        'Unit': unit,
        'Value': value,
    }


def _publish(context: Mapping[str, Any], namespace: Optional[str], data: List[Dict[str, Any]]) -> None:
    """In the namespace of LIFEBOAT_METRICS_NAMESPACE, else of the argument; nothing without one, or after a dry run."""
    try:
        name = setting({}, None, 'LIFEBOAT_METRICS_NAMESPACE', namespace)
        if not name or not data or is_true(conf_of(context).get('dry_run')):
            return
        client('cloudwatch').put_metric_data(Namespace=name, MetricData=data)
    except ImportError:
        log.error('CloudWatch has no metrics of this run: boto3 is not installed.')
    except Exception as untold:  # The work is done, and must not fail for want of a number.
        log.error('CloudWatch has no metrics of this run: %s.', type(untold).__name__)
