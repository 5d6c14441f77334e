from __future__ import annotations

import unittest

from airflow_lifeboat.errors import LifeboatFailure
from airflow_lifeboat.settings import (
    backup_name,
    backup_schedule,
    conf_of,
    real_tables,
    require_confirmation,
    storage_of,
    strategy_of,
)
from tests.support import environ


class Storage(unittest.TestCase):
    def test_conf_beats_variable_beats_argument(self) -> None:
        with environ(AIRFLOW_VAR_DR_BACKUP_BUCKET='variable'):
            self.assertEqual(storage_of({'bucket': 'conf'}, 's3://argument/x', None, 'data'), 's3://conf/data')
            self.assertEqual(storage_of({}, 's3://argument/x', None, 'data'), 's3://variable/data')
        self.assertEqual(storage_of({}, 's3://argument/x', None, 'data'), 's3://argument/x')
        self.assertEqual(storage_of({'storage': '/mnt/b', 'bucket': 'c'}, None, None, 'data'), '/mnt/b')

    def test_a_bucket_that_mwaa_dr_makes_up_is_none(self) -> None:
        with environ(AIRFLOW_VAR_DR_BACKUP_BUCKET='--dummy-bucket--', LIFEBOAT_STORAGE=None):
            with self.assertRaisesRegex(LifeboatFailure, 'DR_BACKUP_BUCKET'):
                storage_of({}, None, None, 'data')
        with environ(LIFEBOAT_STORAGE='s3://env/x'):
            self.assertEqual(storage_of({}, None, None, 'data'), 's3://env/x')

    def test_local_files_lie_where_mwaa_dr_has_them(self) -> None:
        with environ(AIRFLOW_HOME='/home/a'):
            self.assertEqual(storage_of({}, None, 'LOCAL_FS', 'data'), '/home/a/dags/data')
            with environ(AIRFLOW_VAR_DR_STORAGE_TYPE='LOCAL_FS'):
                self.assertEqual(storage_of({'bucket': 'b'}, None, 'S3', '/p/'), '/home/a/dags/p')

    def test_empty_values_of_a_form_count_as_absent(self) -> None:
        class Run:
            conf = {'bucket': '', 'dr_type': None, 'backup': 'x'}

        self.assertEqual(conf_of({'dag_run': Run()}), {'backup': 'x'})


class Strategies(unittest.TestCase):
    def test_conf_beats_variable_beats_argument(self) -> None:
        with environ(AIRFLOW_VAR_DR_VARIABLE_RESTORE_STRATEGY='do_nothing'):
            self.assertEqual(strategy_of({}, 'variable', 'APPEND'), 'DO_NOTHING')
            self.assertEqual(strategy_of({'variable_restore_strategy': 'REPLACE'}, 'variable', 'APPEND'), 'REPLACE')
            self.assertEqual(strategy_of({}, 'connection', 'APPEND'), 'APPEND')

    def test_a_new_environment_replaces_unless_told_not_to(self) -> None:
        conf = {'dr_type': 'BACKUP_RESTORE'}
        self.assertEqual(strategy_of(conf, 'variable', 'APPEND'), 'REPLACE')
        self.assertEqual(strategy_of({**conf, 'variable_restore_strategy': 'DO_NOTHING'}, 'variable', 'APPEND'), 'DO_NOTHING')
        self.assertEqual(strategy_of({'dr_type': 'WARM_STANDBY'}, 'variable', 'APPEND'), 'APPEND')


class Others(unittest.TestCase):
    def test_the_schedule_of_a_variable_beats_the_argument(self) -> None:
        self.assertEqual(backup_schedule('@daily'), '@daily')
        with environ(AIRFLOW_VAR_DR_BACKUP_SCHEDULE='0 * * * *'):
            self.assertEqual(backup_schedule('@daily'), '0 * * * *')
        with environ(AIRFLOW_VAR_DR_BACKUP_SCHEDULE='None'):
            self.assertIsNone(backup_schedule(None))

    def test_confirmation(self) -> None:
        for conf in ({}, {'confirm': False}, {'confirm': 'no'}):
            with self.assertRaisesRegex(LifeboatFailure, r'\{"confirm": true\}'):
                require_confirmation(conf, 'restore_metadata', 'restores')
        for conf in ({'confirm': True}, {'confirm': 'true'}, {'dry_run': True}, {'task_token': 'x'}):
            require_confirmation(conf, 'restore_metadata', 'restores')

    def test_no_name_of_a_backup_is_a_flag(self) -> None:
        with self.assertRaises(LifeboatFailure):
            backup_name('--airflow=postgresql://elsewhere')
        self.assertEqual(backup_name('latest'), 'latest')

    def test_the_table_that_is_none_is_dropped(self) -> None:
        self.assertEqual(real_tables(['variable', 'active_dag']), ['variable'])
        self.assertEqual(real_tables('variable,active_dag'), ['variable'])
        self.assertEqual(real_tables(None), [])
