# SPDX-License-Identifier: Apache-2.0
"""spills.py --bytes N --inner N --outer N [--tiles N]: counts spills of vector registers in the loops of assembly on stdin.

The assembly is that of `tpac show --stage asm`, whose comments name loops and spills. A spill is a store to or a reload
from the stack of --bytes bytes or more, which is to be the vector length. Prints the most that one innermost loop has,
the most that one other loop has (outside the loops in it), and the spills and reloads of tile registers anywhere. Fails
where a loop has more than --inner or --outer, where there are more than --tiles, and where there is no loop."""
import argparse
import collections
import re
import sys

TILE_BYTES = 1024

FUNCTION = re.compile(r"([A-Za-z_][\w.$]*):")
BLOCK = re.compile(r"\.L(BB\d+_\d+):|(?:#|//) %(bb\.\d+):")
HEADER = re.compile(r"=>\s*This (Inner )?Loop Header:")
MEMBER = re.compile(r"in Loop: Header=(BB\d+_\d+) ")
CALL = re.compile(r"\t(?:callq|bl)\t")
SPILL = re.compile(r"(\d+)-byte (?:Folded )?(?:Spill|Reload)")


def count(lines, vector_bytes):
    """(spills of vectors by loop, innermost loops, spills of tiles). A loop is a function and a block, None outside of loops.
    Loops that call functions, which keep no vector register, have none."""
    spills, innermost, calling, tiles = collections.Counter(), set(), set(), 0
    function = block = loop = None
    for line in lines:
        if match := FUNCTION.match(line):
            function, loop = match[1], None
        elif match := BLOCK.match(line):
            block, loop = match[1] or match[2], None
        if match := HEADER.search(line):
            loop = (function, block)
            spills[loop] += 0
            if match[1]:
                innermost.add(loop)
        elif match := MEMBER.search(line):
            loop = (function, match[1])
        if CALL.search(line):
            calling.add(loop)
        if match := SPILL.search(line):
            size = int(match[1])
            tiles += size >= TILE_BYTES
            if loop and vector_bytes <= size < TILE_BYTES:
                spills[loop] += 1
    for loop in calling & spills.keys():
        spills[loop] = 0
    return spills, innermost, tiles


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bytes", type=int, required=True)
    parser.add_argument("--inner", type=int, required=True)
    parser.add_argument("--outer", type=int, required=True)
    parser.add_argument("--tiles", type=int, default=0)
    options = parser.parse_args()
    spills, innermost, tiles = count(sys.stdin, options.bytes)

    failed = tiles > options.tiles
    most = {True: 0, False: 0}
    for loop, number in spills.items():
        inner = loop in innermost
        most[inner] = max(most[inner], number)
        limit = options.inner if inner else options.outer
        if number > limit:
            failed = True
            print(f"{'innermost' if inner else 'outer'} loop {'.'.join(loop)}: {number} spills; accepted: {limit}")
    print(f"innermost {most[True]}, outer {most[False]}, tiles {tiles}, loops {len(spills)}")
    if failed or not innermost:
        sys.exit(1)


main()
