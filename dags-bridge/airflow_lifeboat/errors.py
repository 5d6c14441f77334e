"""What the command's exit codes mean to Airflow: whether a second try could help."""

from __future__ import annotations

from typing import Any, Mapping, Optional

from airflow_lifeboat.compat import AirflowException, AirflowFailException


class LifeboatError(AirflowException):
    """The command failed, and may succeed when the task is retried."""


class LifeboatFailure(AirflowFailException):
    """The command failed in a way that no retry mends; the task fails at once."""


# 1 failed, 11 locked by another run, 130 interrupted: the next try may find things different. Everything else (usage,
# no such backup, damaged, unsupported, refused) stays as it is until somebody acts.
RETRY_CAN_HELP = (1, 11, 130)

MEANINGS = {
    1: 'failed',
    2: 'usage or configuration',
    3: 'a difference was found',
    10: 'no such backup',
    11: 'another run holds the lock',
    12: 'the backup is damaged',
    13: 'unsupported version or schema drift',
    14: 'refused for safety',
    130: 'interrupted',
}


def error_of(
    command: str, exit_code: int, summary: Optional[Mapping[str, Any]], may_retry: bool, stderr: str
) -> AirflowException:
    """The exception for an exit code that is not 0. Its text is the last of the task's log."""
    kind = LifeboatError if may_retry and _retry_can_help(exit_code, summary) else LifeboatFailure
    meaning = MEANINGS.get(exit_code)
    if summary is not None and isinstance(summary.get('error'), Mapping):
        error = summary['error']
        text = '{} ({}, exit code {})'.format(error.get('message'), meaning, exit_code)
        advice = error.get('next')
        return kind(f'lifeboat {command}: {text}' + (f'\nWhat to do: {advice}' if advice else ''))
    if summary is not None and meaning is not None:
        return kind(f'lifeboat {command}: {_without_error(summary, meaning)} (exit code {exit_code})')
    return kind(f'lifeboat {command}: {_crash(exit_code)}' + (f'\n{stderr}' if stderr else ''))


def _retry_can_help(exit_code: int, summary: Optional[Mapping[str, Any]]) -> bool:
    details = ((summary or {}).get('error') or {}).get('details') or {}
    # What is committed must not be done again, and a task token that was closed stays closed.
    if str(details.get('code', '')).startswith('task-token'):
        return False
    return exit_code in RETRY_CAN_HELP or exit_code not in MEANINGS


def _without_error(summary: Mapping[str, Any], meaning: str) -> str:
    if summary.get('overdue'):
        return 'the newest complete backup, {}, shows {}, longer ago than the limit of {} s'.format(
            summary.get('backupId'), summary.get('snapshotTime'), summary.get('maxAgeSeconds')
        )
    return meaning


def _crash(exit_code: int) -> str:
    if exit_code < 0:
        reason = f'the process was killed by signal {-exit_code} and said nothing'
        if exit_code == -9:
            reason += '; with signal 9 the worker probably ran out of memory'
        return f'{reason}. The database rolled back what was not committed.'
    return f'the process ended with {exit_code} and without a summary. What was not committed was rolled back.'
