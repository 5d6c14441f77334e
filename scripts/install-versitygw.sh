#!/bin/sh
# Installs the S3 server of the heavy storage tests into .cache/bin of this checkout and prints its path.
# Needs Go and its module proxy; does nothing when the pinned version is there already.
set -eu

VERSION=v1.8.0
cd "$(dirname "$0")/.."
BIN="$PWD/.cache/bin"
SERVER="$BIN/versitygw-$VERSION"

if [ ! -x "$SERVER" ]; then
  mkdir -p "$BIN"
  # One package at a time: the linker and the large cloud SDKs would need several gigabytes side by side.
  GOBIN="$BIN" GOFLAGS=-p=1 go install "github.com/versity/versitygw/cmd/versitygw@$VERSION" >&2
  mv "$BIN/versitygw" "$SERVER"
fi
echo "$SERVER"
