#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that the rules of the tpa dialect agree in code, page and tests.

The tags of the verifiers' messages (string literals of dialect/*.cpp), of the tables of docs/spec.md and of the
expected errors of tests/lit/dialect/invalid*.mlir must be the same, and each message needs a negative test: at least as
many expected errors carry a tag as places in the code do. Standard library only; exit code 1 with a list of what differs.
"""
import re
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

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
    sources = sorted((root / "dialect").glob("*.cpp"))
    tests = sorted((root / "tests" / "lit" / "dialect").glob("invalid*.mlir"))
    page = root / "docs" / "spec.md"
    problems = []
    if not sources:
        problems.append("dialect/: no *.cpp file found")
    if not tests:
        problems.append("tests/lit/dialect/: no invalid*.mlir file found")
    if not page.exists():
        problems.append("docs/spec.md: not found")
    if problems:
        return problems, 0

    code = gather(sources, tags_in_code)
    listed = gather([page], tags_in_page)
    tested = gather(tests, tags_in_tests)
    if not code:
        problems.append("dialect/*.cpp: no tag found in any string literal")
    places = (("dialect/*.cpp", code), ("docs/spec.md", listed), ("tests/lit/dialect/invalid*.mlir", tested))
    for tag in sorted(set(code) | set(listed) | set(tested), key=order):
        have = [name for name, tags in places if tag in tags]
        lack = [name for name, tags in places if tag not in tags]
        if lack:
            problems.append(f"[{tag}]: in {' and '.join(have)}, not in {' and '.join(lack)}")
        elif tested[tag] < code[tag]:
            problems.append(f"[{tag}]: {code[tag]} places in dialect/*.cpp, only {tested[tag]} expected errors in "
                            "tests/lit/dialect/invalid*.mlir")
        if listed[tag] > 1:
            problems.append(f"[{tag}]: {listed[tag]} rows in docs/spec.md, expected one")
    for tag in empty_cells(page.read_text(encoding="utf-8")):
        problems.append(f"[{tag}]: the row in docs/spec.md has an empty cell")
    return problems, len(code)


def main():
    problems, rules = check(ROOT)
    if problems:
        print("The rules of the tpa dialect differ between code, page and tests:", file=sys.stderr)
        for problem in problems:
            print(f"  {problem}", file=sys.stderr)
        return 1
    print(f"{rules} rules: code, docs/spec.md and negative tests agree")
    return 0


if __name__ == "__main__":
    sys.exit(main())
