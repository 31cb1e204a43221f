#!/bin/sh
# The fuzz target of libtidemark-verify over its corpus.
exec ./tests/verify/replay "${srcdir:-$(dirname "$0")/../..}/tests/verify/corpus"
