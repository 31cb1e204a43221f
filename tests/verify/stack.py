#!/usr/bin/env python3
"""stack.py FILE.ci...: the deepest stack of each function that a caller may call, from what gcc
writes with -fcallgraph-info=su. Prints "NAME BYTES" for every tmv_ function, the deepest first, and
fails on recursion, on frames of a size that is not known, and on calls through pointers."""
import re
import sys

frames, calls, bad = {}, {}, []
for path in sys.argv[1:]:
    for line in open(path):
        node = re.match(r'node: \{ title: "([^"]*)" label: "([^"]*)"', line)
        edge = re.match(r'edge: \{ sourcename: "([^"]*)" targetname: "([^"]*)"', line)
        if node:
            size = re.search(r'(\d+) bytes \((\w+[^)]*)\)', node.group(2))
            if size and size.group(2) != 'static':
                bad.append(f'{node.group(1)}: frame is {size.group(2)}')
            if size:
                frames[node.group(1)] = int(size.group(1))
        if edge:
            if 'indirect' in edge.group(2):
                bad.append(f'{edge.group(1)}: call through a pointer')
            calls.setdefault(edge.group(1), set()).add(edge.group(2))

deepest = {}


def depth(name, path):
    if name in path:
        bad.append('recursion: ' + ' -> '.join(path + [name]))
        return 0
    if name not in deepest:
        below = [depth(n, path + [name]) for n in sorted(calls.get(name, ()))]
        deepest[name] = frames.get(name, 0) + max(below, default=0)
    return deepest[name]


roots = [(depth(n, []), n) for n in frames if n.startswith('tmv_')]
for size, name in sorted(roots, reverse=True):
    print(name, size)
for text in bad:
    print(text, file=sys.stderr)
sys.exit(1 if bad or not roots else 0)
