#!/bin/sh
# The fuzz target of attestations over its corpus.
exec ./tests/fuzz/replay_attest "${srcdir:-$(dirname "$0")/../..}/tests/fuzz/attest"
