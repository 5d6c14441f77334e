from __future__ import annotations

import json
import os
import tempfile
import unittest
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, Iterator
from unittest import mock

import airflow
from airflow_lifeboat import api, hidden
from airflow_lifeboat.errors import LifeboatFailure
from airflow_lifeboat.process import EngineProcess
from tests.support import environ, logged


def connection(**fields: Any) -> SimpleNamespace:
    return SimpleNamespace(**{'host': None, 'schema': None, 'port': None, 'login': None, 'password': None, **fields})


@contextmanager
def supervised() -> Iterator[None]:
    """Outside a task the SDK of 3.0 cannot ask for a connection at all: its supervisor answers here, as to a task."""
    if not airflow.__version__.startswith('3.0.'):
        yield
        return
    from airflow.sdk.exceptions import ErrorType
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import ErrorResponse

    absent = SimpleNamespace(send=lambda _: ErrorResponse(error=ErrorType.CONNECTION_NOT_FOUND))
    with mock.patch.object(task_runner, 'SUPERVISOR_COMMS', absent, create=True):
        yield


class WhereTheApiIs(unittest.TestCase):
    def test_what_a_connection_says(self) -> None:
        for fields, expected in (
            (
                {'host': 'https://airflow.example.com/team', 'login': 'me', 'password': 'p@ss'},
                {
                    'LIFEBOAT_AIRFLOW': 'https://airflow.example.com/team',
                    'LIFEBOAT_REST_USER': 'me',
                    'LIFEBOAT_REST_PASSWORD': 'p@ss',
                },
            ),
            ({'host': 'localhost', 'schema': 'http', 'port': 8080}, {'LIFEBOAT_AIRFLOW': 'http://localhost:8080'}),
            ({'host': 'https://[::1]:1', 'port': 2}, {'LIFEBOAT_AIRFLOW': 'https://[::1]:1'}),
            (
                {'host': 'airflow.example.com', 'password': 'bearer'},
                {'LIFEBOAT_AIRFLOW': 'https://airflow.example.com', 'LIFEBOAT_REST_TOKEN': 'bearer'},
            ),
            ({'host': 'mwaa://prod?region=eu-west-1'}, {'LIFEBOAT_AIRFLOW': 'mwaa://prod?region=eu-west-1'}),
        ):
            self.assertEqual(api.of_connection(connection(**fields)), expected)

    @supervised()
    def test_without_one_there_is_mwaa_or_an_error_that_says_what_to_do(self) -> None:
        with environ(AIRFLOW_ENV_NAME='prod env', AWS_REGION='eu-west-1'):
            self.assertEqual(
                api.api_environment('none_of_that_name'), {'LIFEBOAT_AIRFLOW': 'mwaa://prod%20env?region=eu-west-1'}
            )
        with environ(AIRFLOW_ENV_NAME=None), self.assertRaisesRegex(LifeboatFailure, 'make the connection lifeboat_api'):
            api.api_environment()


class HiddenSecrets(unittest.TestCase):
    MASKED = [
        {'table': 'variable', 'columns': ['val'], 'names': ['token', 'gone']},
        {'table': 'connection', 'columns': ['password'], 'names': ['db']},
        {'table': 'connection', 'columns': ['extra'], 'names': ['db']},
    ]

    def test_are_read_by_name_and_what_cannot_be_read_is_told(self) -> None:
        def variable(name: str) -> str:
            if name == 'gone':
                raise KeyError('hunter2')
            return 'hunter2'

        found = connection(password='hunter2', extra='{"a": 1}')
        with mock.patch.object(hidden, 'variable', variable), logged() as lines:
            with mock.patch.object(hidden, 'connection_of', lambda _: found):
                answer = json.loads(hidden.read_hidden(self.MASKED))
        self.assertEqual(
            answer,
            {
                'variables': {'token': 'hunter2'},
                'connections': {'db': {'password': 'hunter2', 'extra': '{"a": 1}'}},
            },
        )
        self.assertIn('Not readable, and left out: variable gone (KeyError).', lines)
        self.assertNotIn('hunter2', '\n'.join(lines))

    def test_go_through_a_pipe_whole_and_in_no_argument(self) -> None:
        secrets = json.dumps({'variables': {'long': 'x' * 1_000_000}}).encode()
        with tempfile.TemporaryDirectory() as folder:
            script = os.path.join(folder, 'engine.sh')
            with open(script, 'w', encoding='utf-8') as file:
                # As the engine is called: the flag and its file come last.
                file.write('echo "$@" >&2; cat "$2" | wc -c >&2')
            process = EngineProcess(['sh', script], dict(os.environ), lambda event: None, secrets)
            self.assertEqual(process.run(), 0)
        flags, size = process.stderr
        self.assertRegex(flags, r'^--secrets-from /dev/fd/\d+$')
        self.assertEqual(int(size), len(secrets))

    def test_an_engine_that_does_not_read_them_ends_all_the_same(self) -> None:
        self.assertEqual(EngineProcess(['false'], dict(os.environ), lambda event: None, b'x' * 1_000_000).run(), 1)
