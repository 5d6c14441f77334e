"""Secrets that the REST API masks. A task inside Airflow may read them, one by one and by name; they go to the engine
through a pipe, and it seals them."""

from __future__ import annotations

import json
import logging
from typing import Any, Dict, Mapping, Sequence

from airflow_lifeboat.compat import connection_of, variable

log = logging.getLogger('airflow.task')


def read_hidden(masked: Sequence[Mapping[str, Any]]) -> bytes:
    """The answer to a plan's `masked`, as `backup --secrets-from` takes it. What cannot be read is left out, and named."""
    found: Dict[str, Dict[str, Any]] = {'variables': {}, 'connections': {}}
    unread = []
    for entry in masked:
        for name in entry.get('names') or []:
            try:
                if entry['table'] == 'variable':
                    found['variables'][name] = variable(name)
                elif name not in found['connections']:
                    connection = connection_of(name)
                    found['connections'][name] = {'password': connection.password, 'extra': connection.extra or None}
            except Exception as error:  # Gone meanwhile, or of another Fernet key: the manifest will name it.
                unread.append(f'{entry["table"]} {name} ({type(error).__name__})')
    log.info('Read for the backup: %d variables, %d connections.', len(found['variables']), len(found['connections']))
    if unread:
        log.warning('Not readable, and left out: %s.', ', '.join(unread))
    return json.dumps(found).encode('utf-8')
