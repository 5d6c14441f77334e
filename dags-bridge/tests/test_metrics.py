"""What CloudWatch is sent, by the real engine and by stand-ins."""

from __future__ import annotations

import tempfile
import time
import unittest
from typing import Any, Dict, List

from airflow_lifeboat import backup_dag, drill_dag, restore_dag, status_dag
from airflow_lifeboat.environment import engine_environment
from airflow_lifeboat.errors import LifeboatError, LifeboatFailure
from airflow_lifeboat.metrics import measured
from tests.support import STORAGE, TOKEN, FakeBoto, context_of, environ, execute, logged


def metrics_in(calls: List[Dict[str, Any]]) -> Dict[str, float]:
    """Of all calls, by name."""
    found = {}
    for call in calls:
        for datum in call['MetricData']:
            found[datum['MetricName']] = datum['Value']
    return found


def failed(dag: Any, conf: Dict[str, Any]) -> None:
    (task,) = dag.tasks
    callback = task.on_failure_callback
    callback = callback[0] if isinstance(callback, list) else callback
    callback(context_of(dag, conf, LifeboatError('broken')))


class Metrics(unittest.TestCase):
    def test_backups_drills_and_ages_are_measured(self) -> None:
        storage = tempfile.mkdtemp()
        with FakeBoto() as sent, environ(AIRFLOW_ENV_NAME='prod'):
            made = execute(backup_dag(storage=storage, metrics_namespace='DR'))
            (call,) = sent
            self.assertEqual((call['service'], call['Namespace']), ('cloudwatch', 'DR'))
            self.assertEqual(
                [(datum['MetricName'], datum['Unit']) for datum in call['MetricData']],
                [
                    ('BackupDuration', 'Seconds'),
                    ('BackupBytes', 'Bytes'),
                    ('BackupRows', 'Count'),
                    ('BackupFailures', 'Count'),
                ],
            )
            for datum in call['MetricData']:
                self.assertEqual(datum['Dimensions'], [{'Name': 'Environment', 'Value': 'prod'}])
            found = metrics_in(sent)
            self.assertEqual(found['BackupRows'], made['totals']['rows'])
            self.assertEqual(found['BackupFailures'], 0)
            self.assertGreater(found['BackupDuration'], 0)

            execute(status_dag(storage=storage, metrics_namespace='DR'))
            self.assertIn('BackupAge', metrics_in(sent))
            self.assertNotIn('ProvenBackupAge', metrics_in(sent))

            execute(drill_dag(storage=storage, metrics_namespace='DR', variables='REPLACE'))
            self.assertGreater(metrics_in(sent)['DrillDuration'], 0)
            time.sleep(1.1)
            result = execute(status_dag(storage=storage, metrics_namespace='DR', max_age='1h'))
            self.assertEqual(result['provenBackup']['backupId'], made['backupId'])
            self.assertGreaterEqual(metrics_in(sent)['ProvenBackupAge'], 1)

            del sent[:]
            with self.assertRaisesRegex(LifeboatFailure, r'longer ago than the limit of 1 s \(exit code 3\)'):
                execute(status_dag(storage=storage, metrics_namespace='DR', max_age='1s'))
            # The age is what one wants to see then; the failure is counted when the task has failed.
            self.assertEqual(sorted(metrics_in(sent)), ['BackupAge', 'ProvenBackupAge'])

    def test_a_restore_is_measured(self) -> None:
        summary = {'ok': True, 'loaded': {'seconds': 12.5}}
        self.assertEqual(measured('restore', summary), [('RestoreDuration', 'Seconds', 12.5)])
        self.assertEqual(measured('restore', {'ok': True, 'plan': {}}), [])
        self.assertEqual(measured('status', {'ageSeconds': 5, 'provenBackup': None}), [('BackupAge', 'Seconds', 5.0)])

    def test_failures_are_counted_once_no_try_is_left(self) -> None:
        dag = restore_dag(metrics_namespace='DR')
        with FakeBoto() as sent:
            failed(dag, {'task_token': TOKEN})
            failed(dag, {'dry_run': True})
        (call,) = sent
        self.assertEqual(metrics_in([call]), {'RestoreFailures': 1})
        self.assertNotIn(TOKEN, str(call))

    def test_either_variable_names_the_region_of_boto3_and_of_the_engine(self) -> None:
        dag = backup_dag(metrics_namespace='DR')
        for variables in ({'AWS_REGION': 'eu-west-1'}, {'AWS_DEFAULT_REGION': 'eu-west-1'}):
            with FakeBoto() as sent, environ(**{'AWS_REGION': None, 'AWS_DEFAULT_REGION': None, **variables}):
                failed(dag, {})
                self.assertEqual([call['region'] for call in sent], ['eu-west-1'])
                self.assertEqual(engine_environment(context_of(dag), None, None, {})['AWS_REGION'], 'eu-west-1')

    def test_without_a_namespace_nothing_is_sent(self) -> None:
        with FakeBoto() as sent:
            execute(backup_dag(storage=STORAGE))
            execute(backup_dag(storage=STORAGE, metrics_namespace='DR'), {'dry_run': True})
            failed(backup_dag(), {})
            self.assertEqual(sent, [])
            with environ(AIRFLOW_VAR_LIFEBOAT_METRICS_NAMESPACE='FromVariable'):
                failed(backup_dag(metrics_namespace='DR'), {})
        self.assertEqual([call['Namespace'] for call in sent], ['FromVariable'])

    def test_what_cannot_be_sent_fails_nothing(self) -> None:
        with FakeBoto(broken=RuntimeError(TOKEN)) as sent, logged() as lines:
            result = execute(backup_dag(storage=STORAGE, metrics_namespace='DR'))
        self.assertTrue(result['ok'])
        self.assertEqual(sent, [])
        self.assertIn('CloudWatch has no metrics of this run: RuntimeError.', lines)
