#!/bin/sh
# Makes ./configure from a git checkout; release tarballs have it already.
set -e
cd "$(dirname "$0")"
mkdir -p build-aux m4
exec autoreconf --install --force
