"""The engine's summary as an XCom: what people and later tasks need, small enough for every backend."""

from __future__ import annotations

import json
from typing import Any, Dict, List, Mapping

LIMIT_BYTES = 40_000


def xcom_of(summary: Mapping[str, Any]) -> Dict[str, Any]:
    result = {name: value for name, value in summary.items() if name not in ('event', 'plan', 'manifest')}
    manifest = summary.get('manifest')
    if isinstance(manifest, Mapping):
        for name in ('totals', 'snapshotTime', 'durationSeconds', 'label'):
            if name in manifest:
                result[name] = manifest[name]
    cut: List[str] = []
    while len(json.dumps(result)) > LIMIT_BYTES:
        longest = max(result, key=lambda name: len(json.dumps(result[name])))
        del result[longest]
        cut.append(longest)
    if cut:
        result['cut'] = cut
    return result
