# SPDX-License-Identifier: Apache-2.0
"""frames.py --bytes N [--show TPAC --target TARGET CONFIG...]: the memory that functions take on the stack.

Reads assembly (`tpac show --stage asm`) or the LLVM dialect (`--stage target`) on stdin, or the latter of each CONFIG
from TPAC. Prints the largest frame: the bytes by which a function lowers the stack pointer, or those of its tiles. Fails
where it is larger than --bytes, and where there is no function with a frame."""
import argparse
import collections
import re
import subprocess
import sys

LABEL = re.compile(r"([A-Za-z_][\w.$]*):")
DIALECT = re.compile(r"\s*llvm\.func .*@(\w+)")
# Where an AArch64 frame is aligned, x9 takes the new stack pointer on the way.
LOWERED = re.compile(r"\tsubq\t\$(\d+), %rsp|\tsub\t(?:sp|x9), sp, #(\d+)(?:, lsl #(\d+))?")
CONSTANT = re.compile(r"\s*(%\S+) = llvm\.mlir\.constant\((\d+) : ")
TILE = re.compile(r"= llvm\.alloca (%\S+) x [a-z]+(\d+)\b")


def frames(lines):
    """Bytes by function."""
    result, constants, function = collections.Counter(), {}, None
    for line in lines:
        if match := LABEL.match(line) or DIALECT.match(line):
            function, constants = match[1], {}
        elif match := LOWERED.match(line):
            result[function] += int(match[1] or match[2]) << int(match[3] or 0)
        elif match := CONSTANT.match(line):
            constants[match[1]] = int(match[2])
        elif match := TILE.search(line):
            result[function] += constants[match[1]] * int(match[2]) // 8
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bytes", type=int, required=True)
    parser.add_argument("--show")
    parser.add_argument("--target")
    parser.add_argument("configs", nargs="*")
    options = parser.parse_args()
    if not options.show:
        check(frames(sys.stdin), options.bytes)
    for config in options.configs:
        show = [options.show, "show", config, "--stage", "target", "--target", options.target]
        print(config, end=" ")
        check(frames(subprocess.run(show, check=True, capture_output=True, text=True).stdout.splitlines()), options.bytes)


def check(found, limit):
    if not found:
        sys.exit("no function takes memory on the stack")
    function, largest = found.most_common(1)[0]
    print(f"{function}: {largest} bytes")
    if largest > limit:
        sys.exit(f"{function} takes {largest} bytes of the stack, more than {limit}")


main()
