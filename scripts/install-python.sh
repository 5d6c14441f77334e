#!/usr/bin/env bash
# Makes sure that airflow-lab finds the given Python minors: bash scripts/install-python.sh 3.11 3.12
# It looks for python3.X on PATH and for pyenv's; what is missing is installed by uv into the user's home, where
# ~/.local/bin must be on PATH.
set -euo pipefail

found() {
  "python$1" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$1')" 2>/dev/null && return
  compgen -G "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1.*/bin/python$1" >/dev/null
}

# airflow-lab uses the same place, so uv is installed once.
uv="${AIRFLOW_LAB_HOME:-$HOME/.cache/airflow-lab}/uv"
for minor in "$@"; do
  if found "$minor"; then
    echo "Python $minor is there."
    continue
  fi
  if [ ! -x "$uv/bin/uv" ]; then
    python3 -m venv "$uv"
    "$uv/bin/pip" install --quiet uv
  fi
  "$uv/bin/uv" python install "$minor"
  found "$minor" || { echo "Python $minor was installed, and is not on PATH: add $HOME/.local/bin." >&2; exit 1; }
done
