#!/usr/bin/env bash
# Makes sure that there is a Go that can build versitygw: 1.21 or newer, which fetches a newer toolchain by itself.
set -euo pipefail

recent() { command -v go >/dev/null && [ "$(printf '%s\n' 1.21 "$(go env GOVERSION | sed 's/^go//')" | sort -V | head -n 1)" = 1.21 ]; }

if ! recent; then
  as_root=()
  [ "$(id -u)" = 0 ] || as_root=(sudo -n)
  "${as_root[@]}" apt-get update -qq
  # Debian 12 has 1.19 only; its backports, where they are configured, have a newer one.
  "${as_root[@]}" apt-get install -y -qq -t "$(. /etc/os-release && echo "$VERSION_CODENAME")-backports" golang-go ||
    "${as_root[@]}" apt-get install -y -qq golang-go
fi
recent || { echo 'Go 1.21 or newer is needed to build versitygw: install it from https://go.dev/dl/.' >&2; exit 1; }
go version
