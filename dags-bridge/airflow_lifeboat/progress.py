"""The engine's events as lines of a task log."""

from __future__ import annotations

import logging
import time
from typing import Any, Callable, Mapping, Optional

# A line every few seconds shows life; one for each event would be thousands.
SECONDS_BETWEEN = 5.0


class ProgressLog:
    """Writes events to a task's log. Owns the clock of the phase that is under way."""

    def __init__(self, log: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._phase: Optional[str] = None
        self._began = 0.0
        self._shown = 0.0

    def event(self, event: Mapping[str, Any]) -> None:
        name = event.get('event')
        if name == 'phase':
            self._log.info('%s', event.get('message'))
        elif name == 'progress':
            self._progress(event)
        elif name == 'table':
            self._log.info('%s: %s rows, %.1f s', event['table'], _count(event['rows']), event['seconds'])
        elif name == 'warning':
            advice = event.get('next')
            self._log.warning('%s%s', event.get('message'), f' {advice}' if advice else '')
        elif name == 'plan':
            self._plan(event['plan'])

    def _plan(self, plan: Mapping[str, Any]) -> None:
        tables = plan.get('tables') or []
        deletes = sum(int(table.get('deletes') or 0) for table in tables)
        says = f', deleting {_count(deletes)} rows' if deletes else ''
        self._log.info('Plan: %s of %d tables%s', plan.get('kind'), len(tables), says)

    def _progress(self, event: Mapping[str, Any]) -> None:
        now = self._clock()
        if event.get('phase') != self._phase:
            self._phase, self._began, self._shown = event.get('phase'), now, now
            return
        if now - self._shown < SECONDS_BETWEEN:
            return
        self._shown = now
        rows = f'{_count(event["rows"])} rows' if event.get('rows') else f'{event["bytes"] / 1e6:,.1f} MB'
        self._log.info('%s %s: %s%s', self._phase, event.get('table'), rows, self._left(event, now))

    def _left(self, event: Mapping[str, Any], now: float) -> str:
        for done, total in (('rows', 'totalRows'), ('bytes', 'totalBytes')):
            if event.get(total) and event.get(done):
                share = min(1.0, float(event[done]) / float(event[total]))
                left = (now - self._began) * (1 - share) / share
                return f', {share:.0%}, about {_duration(left)} left'
        return ''


def _count(number: Any) -> str:
    return f'{int(number):,}'


def _duration(seconds: float) -> str:
    return f'{seconds:.0f} s' if seconds < 90 else f'{seconds / 60:.0f} min'
