from __future__ import annotations

import ast
import os
import re
import unittest
from datetime import timedelta

import airflow_lifeboat
from airflow.models import DagBag
from airflow.serialization.serialized_objects import SerializedDAG
from airflow_lifeboat import backup_dag, cleanup_dag, drill_dag, prune_dag, restore_dag, status_dag
from airflow_lifeboat.node import ENGINE
from tests.support import TOKEN, environ

PACKAGE = os.path.dirname(os.path.abspath(airflow_lifeboat.__file__))


def sources() -> list:
    return [os.path.join(PACKAGE, name) for name in sorted(os.listdir(PACKAGE)) if name.endswith('.py')]


class Dags(unittest.TestCase):
    def test_the_ready_file_is_parsed_and_serialized(self) -> None:
        with environ(AIRFLOW_VAR_DR_BACKUP_SCHEDULE='@hourly'):
            bag = DagBag(os.path.join(PACKAGE, 'ready'), include_examples=False)
        self.assertEqual(bag.import_errors, {})
        self.assertEqual(
            sorted(bag.dags),
            [
                'backup_metadata',
                'cleanup_metadata',
                'drill_metadata',
                'prune_metadata',
                'restore_metadata',
                'status_metadata',
            ],
        )
        for dag in bag.dags.values():
            self.assertTrue(dag.fileloc.endswith('lifeboat_dags.py'), dag.fileloc)
            again = SerializedDAG.from_dict(SerializedDAG.to_dict(dag))
            self.assertIn('lifeboat', again.tags)
            self.assertEqual(again.max_active_runs, 1)
            self.assertFalse(again.catchup)
        self.assertEqual(bag.dags['backup_metadata'].schedule_interval, '@hourly')

    def test_what_deletes_is_paused_and_never_retried(self) -> None:
        for dag in (restore_dag(), cleanup_dag(), prune_dag(keep={'last': 3})):
            self.assertIs(dag.is_paused_upon_creation, True)
            (task,) = dag.tasks
            self.assertEqual(task.retries, 0)
            self.assertGreater(task.execution_timeout, timedelta(0))
            self.assertEqual(list(task.template_fields), [])
        for dag in (backup_dag(), drill_dag(), status_dag()):
            self.assertIsNone(dag.is_paused_upon_creation)

    def test_arguments_of_mwaa_dr_and_of_airflow_are_taken(self) -> None:
        dag = backup_dag(dag_id='backup', path_prefix='data', storage_type='S3', batch_size=5000, tags=['mine'], queue='q')
        self.assertEqual(dag.dag_id, 'backup')
        self.assertEqual(dag.tasks[0].queue, 'q')
        self.assertEqual(dag.tags, ['lifeboat', 'disaster-recovery', 'mine'])


class Package(unittest.TestCase):
    def test_the_engine_is_of_the_same_version(self) -> None:
        import json

        with open(os.path.join(PACKAGE, 'engine', 'package.json'), encoding='utf-8') as file:
            self.assertEqual(json.load(file)['version'], airflow_lifeboat.__version__)
        self.assertTrue(os.path.exists(ENGINE))

    def test_there_is_no_sql_and_no_password_in_it(self) -> None:
        sql = re.compile(r'\b(SELECT|INSERT INTO|UPDATE \w+ SET|DELETE FROM|TRUNCATE|COPY \w+ FROM|ALTER TABLE)\b')
        for path in sources():
            with open(path, encoding='utf-8') as file:
                text = file.read()
            self.assertIsNone(sql.search(text), path)
            self.assertNotIn(TOKEN, text)

    def test_python_3_8_can_read_it(self) -> None:
        for path in sources():
            with open(path, encoding='utf-8') as file:
                ast.parse(file.read(), path, feature_version=(3, 8))
