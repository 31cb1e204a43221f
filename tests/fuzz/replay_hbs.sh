#!/bin/sh
# The fuzz target of keys and signatures over its corpus.
exec ./tests/fuzz/replay_hbs "${srcdir:-$(dirname "$0")/../..}/tests/fuzz/hbs"
