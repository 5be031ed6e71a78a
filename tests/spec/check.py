#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that the rules of the tpa and tile dialects agree in code, page and tests.

The tags of the verifiers' messages (string literals of the files in SOURCES), of the tables of docs/spec.md and of the
negative tests (expected errors of LIT_TESTS, string literals of UNIT_TESTS) must be the same, and each message needs a
negative test: at least as many of them carry a tag as places in the code do. Standard library only; exit code 1 with a
list of what differs.
"""
import re
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

SOURCES = ("dialect/*.cpp", "lowering/tile/*.cpp")
LIT_TESTS = ("tests/lit/dialect/invalid*.mlir", "tests/lit/tile/invalid*.mlir")
# For messages that no text can cause.
UNIT_TESTS = ("tests/unit/tile/VerifierTests.cpp",)

# What a C++ file may hold that matters here; the first alternative that matches wins, so that a quote in a comment or a
# "//" in a string is read as what it is.
CPP_TOKEN = re.compile(r"""//[^\n]*|/\*.*?\*/|'(?:[^'\\]|\\.)+'|"((?:[^"\\\n]|\\.)*)\"""", re.DOTALL)
# In a message, "... [V3]"; as an argument of a helper that writes the message, "V3".
TAG_IN_LITERAL = re.compile(r"\[([A-Z]\d+)\]|^([A-Z]\d+)$")
TABLE_ROW = re.compile(r"^\|\s*([A-Z]\d+)\s*\|(.*)\|\s*$", re.MULTILINE)
EXPECTED_ERROR = re.compile(r"//\s*expected-error(?:-re)?\s*(?:@\S+)?\s*(\d*)\s*\{\{(.*)\}\}")
TAG_IN_ERROR = re.compile(r"\[([A-Z]\d+)\]")


def tags_in_code(text):
    literals = (match.group(1) for match in CPP_TOKEN.finditer(text) if match.group(1) is not None)
    return Counter(in_message or argument
                   for literal in literals for in_message, argument in TAG_IN_LITERAL.findall(literal))


def tags_in_tests(text):
    counts = Counter()
    for repeated, message in EXPECTED_ERROR.findall(text):
        for tag in TAG_IN_ERROR.findall(message.replace("\\", "")):
            counts[tag] += int(repeated or 1)
    return counts


def tags_in_page(text):
    return Counter(tag for tag, _ in TABLE_ROW.findall(text))


def empty_cells(text):
    return [tag for tag, rest in TABLE_ROW.findall(text) if not all(cell.strip() for cell in rest.split("|"))]


def order(tag):
    return tag[0], int(tag[1:])


def gather(paths, count):
    return sum((count(path.read_text(encoding="utf-8")) for path in paths), Counter())


def check(root):
    """Sentences that say what is wrong, and the number of rules."""
    problems = []

    def find(patterns):
        found = {pattern: sorted(root.glob(pattern)) for pattern in patterns}
        problems.extend(f"{pattern}: no such file" for pattern, paths in found.items() if not paths)
        return [path for paths in found.values() for path in paths]

    sources, lit_tests, unit_tests = find(SOURCES), find(LIT_TESTS), find(UNIT_TESTS)
    [page] = find(["docs/spec.md"]) or [None]
    if problems:
        return problems, 0

    code = gather(sources, tags_in_code)
    listed = gather([page], tags_in_page)
    tested = gather(lit_tests, tags_in_tests) + gather(unit_tests, tags_in_code)
    if not code:
        problems.append("the code: no tag found in any string literal")
    places = (("the code", code), ("docs/spec.md", listed), ("the negative tests", tested))
    for tag in sorted(set(code) | set(listed) | set(tested), key=order):
        have = [name for name, tags in places if tag in tags]
        lack = [name for name, tags in places if tag not in tags]
        if lack:
            problems.append(f"[{tag}]: in {' and '.join(have)}, not in {' and '.join(lack)}")
        elif tested[tag] < code[tag]:
            problems.append(f"[{tag}]: {code[tag]} places in the code, only {tested[tag]} negative tests")
        if listed[tag] > 1:
            problems.append(f"[{tag}]: {listed[tag]} rows in docs/spec.md, expected one")
    for tag in empty_cells(page.read_text(encoding="utf-8")):
        problems.append(f"[{tag}]: the row in docs/spec.md has an empty cell")
    return problems, len(code)


def main():
    problems, rules = check(ROOT)
    if problems:
        print("The rules of the dialects differ between code, page and tests:", file=sys.stderr)
        for problem in problems:
            print(f"  {problem}", file=sys.stderr)
        return 1
    print(f"{rules} rules: code, docs/spec.md and negative tests agree")
    return 0


if __name__ == "__main__":
    sys.exit(main())
