#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the test suites of a finished build and counts what passed.

A suite is one GoogleTest program of bin/tests/, the lit tests, the Python package's tests, or one script check (the
table SCRIPT_CHECKS). Suites are independent and run side by side. It builds nothing but the Python package: `./dev test`
does that first. Standard library only.
"""
import argparse
import concurrent.futures
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Each counts as one test. "{python}" is the interpreter that runs this file.
SCRIPT_CHECKS = [
    ("format", ["./dev", "format", "--check"]),
    ("docs", ["./dev", "docs", "--check"]),
    ("spec", ["{python}", "tests/spec/check.py"]),
    ("variant-schema", ["{python}", "tests/unit/json/check_schema.py"]),
]

# A suite that hangs must end with a message, well before whoever waits for us gives up.
SUITE_TIMEOUT_SECONDS = {"quick": 300, "normal": 1800, "full": 7200}

LIT_PASSED = {"PASS", "XFAIL", "FLAKYPASS"}
LIT_SKIPPED = {"UNSUPPORTED", "EXCLUDED", "SKIPPED"}


@dataclass
class Result:
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    output: str = ""  # shown where something failed


@dataclass
class Process:
    code: int
    output: str
    problem: str  # empty, or why the process did not end by itself


class Runner:
    """Knows the build and the environment of the tests; each method runs one suite."""

    def __init__(self, options, scratch):
        self.build = Path(options.build).resolve()
        self.lit = options.lit
        self.effort = options.effort
        self.timeout = SUITE_TIMEOUT_SECONDS[options.effort]
        self.scratch = Path(scratch)
        self.environment = dict(os.environ, TPAC_TEST_EFFORT=options.effort)
        # LLVM's allocators poison their memory in our instrumented code and not in the uninstrumented libLLVM.so.
        self.environment.setdefault("ASAN_OPTIONS", "allow_user_poisoning=0:detect_leaks=0")
        self.environment.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")

    def suites(self):
        """(kind, name, function) of every suite; what is expected to exist and does not, fails when it is run."""
        found = [("check", name, lambda c=command: self.script(c)) for name, command in SCRIPT_CHECKS]
        programs = sorted(p for p in (self.build / "bin" / "tests").glob("*Tests") if os.access(p, os.X_OK))
        found += [("gtest", p.name, lambda p=p: self.gtest(p)) for p in programs]
        found.append(("lit", "lit", self.lit_suite))
        found.append(("pytest", "pytest", self.pytest))
        return found

    def run(self, command, **environment):
        process = subprocess.Popen(command, cwd=ROOT, env=self.environment | environment, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                                   start_new_session=True)
        problem = ""
        try:
            output, _ = process.communicate(timeout=self.timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            problem = f"did not end within {self.timeout} s and was killed"
        if not problem and process.returncode < 0:
            problem = f"was ended by {signal.Signals(-process.returncode).name}"
        return Process(process.returncode, output, problem)

    def script(self, command):
        process = self.run([sys.executable if word == "{python}" else word for word in command])
        if process.code == 0:
            return Result(passed=1)
        return Result(failed=1, output=f"$ {' '.join(command)}\n{process.output}{process.problem}")

    def gtest(self, program):
        report = self.scratch / f"{program.name}.json"
        process = self.run([str(program), f"--gtest_output=json:{report}", "--gtest_color=no"])
        result = Result(output=process.output)
        if report.exists():
            for suite in json.loads(report.read_text())["testsuites"]:
                for test in suite["testsuite"]:
                    if test.get("failures"):
                        result.failed += 1
                    elif test["result"] == "COMPLETED":
                        result.passed += 1
                    else:
                        result.skipped += 1
        else:
            # It crashed: the tests before the crash are in its output only.
            result.passed = sum(line.startswith("[       OK ]") for line in process.output.splitlines())
        self.add_process_failure(result, process, program.name)
        return result

    def lit_suite(self):
        report = self.scratch / "lit.json"
        process = self.run([sys.executable, self.lit, "-sv", "--no-progress-bar", "--output", str(report),
                            str(self.build / "tests" / "lit")])
        result = Result(output=process.output)
        if report.exists():
            for test in json.loads(report.read_text())["tests"]:
                if test["code"] in LIT_PASSED:
                    result.passed += 1
                elif test["code"] in LIT_SKIPPED:
                    result.skipped += 1
                else:
                    result.failed += 1
        self.add_process_failure(result, process, "lit")
        return result

    def pytest(self):
        """Installs the Python package, then runs its tests; those of tpac.torch where PyTorch can be imported, and in a
        full run."""
        # All that the project claims needs PyTorch: without CUDA's gigabytes where pip has such a build.
        wishes = [["--torch-cpu"], ["--torch"]] if self.effort == "full" else [[]]
        log = ""
        for wish in wishes:
            command = ["./dev", "python", *wish]
            installed = self.run(command)
            log += f"$ {' '.join(command)}\n{installed.output}{installed.problem}\n"
            if installed.code == 0:
                break
        else:
            return Result(failed=1, output=log)
        report = self.scratch / "pytest.xml"
        process = self.run([str(ROOT / "build/python/bin/python"), "-m", "pytest", "-q", "-p", "no:cacheprovider",
                            f"--junit-xml={report}", "python"], TPAC=str(self.build / "bin" / "tpac"))
        result = Result(output=log + process.output)
        if report.exists():
            for suite in xml.etree.ElementTree.parse(report).getroot().iter("testsuite"):
                count = {name: int(suite.get(name)) for name in ("tests", "failures", "errors", "skipped")}
                result.failed += count["failures"] + count["errors"]
                result.skipped += count["skipped"]
                result.passed += count["tests"] - count["failures"] - count["errors"] - count["skipped"]
        self.add_process_failure(result, process, "pytest")
        return result

    @staticmethod
    def add_process_failure(result, process, name):
        """Counts one failure where the process failed and no single test is to blame, or where nothing ran."""
        problem = process.problem
        if not problem and process.code != 0 and result.failed == 0:
            problem = f"ended with code {process.code}, though no test failed"
        if not problem and result.passed + result.failed == 0:
            problem = "ran no test"
        if problem:
            result.failed += 1
            result.output += f"\n{name} {problem}\n"


class Status:
    """One line that shows what runs and for how long; on a terminal it is rewritten, elsewhere only ends are shown."""

    def __init__(self, total):
        self.total = total
        self.done = 0
        self.running = []
        self.start = time.monotonic()
        self.lock = threading.Lock()
        self.terminal = sys.stdout.isatty()

    def begin(self, name):
        with self.lock:
            self.running.append(name)

    def end(self, kind, name, result):
        with self.lock:
            self.running.remove(name)
            self.done += 1
            if not self.terminal:
                verdict = "FAILED" if result.failed else "ok"
                print(f"[{self.done}/{self.total}] {kind} {name}: {verdict} ({result.seconds:.1f} s)", flush=True)

    def draw(self):
        if not self.terminal:
            return
        with self.lock:
            elapsed = time.monotonic() - self.start
            text = f"[{self.done}/{self.total}] {elapsed:.0f} s  {', '.join(self.running)}"
        print("\r\033[K" + text[:os.get_terminal_size().columns - 1], end="", flush=True)

    def clear(self):
        if self.terminal:
            print("\r\033[K", end="", flush=True)


def run_suites(suites):
    status = Status(len(suites))

    def run_one(kind, name, function):
        status.begin(name)
        start = time.monotonic()
        result = function()
        result.seconds = time.monotonic() - start
        status.end(kind, name, result)
        return result

    with concurrent.futures.ThreadPoolExecutor(max_workers=max(2, os.cpu_count() or 2)) as pool:
        futures = [pool.submit(run_one, *suite) for suite in suites]
        pending = futures
        while pending:
            _, pending = concurrent.futures.wait(pending, timeout=0.2)
            status.draw()
        status.clear()
        return [future.result() for future in futures]


def print_table(suites, results, steps):
    rows = [("step", "passed", "failed", "skipped", "seconds")]
    rows += [(name, "", "", "", seconds) for name, seconds in steps]
    for (kind, name, _), r in zip(suites, results):
        label = name if kind == name else f"{kind} {name}"
        rows.append((label, str(r.passed), str(r.failed), str(r.skipped or ""), f"{r.seconds:.1f}"))
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    print()
    for row in rows:
        cells = [row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        print("  ".join(cells).rstrip())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build/release", help="build folder (default: %(default)s)")
    parser.add_argument("--effort", choices=sorted(SUITE_TIMEOUT_SECONDS), default="normal",
                        help="how much the tests try, given to them as TPAC_TEST_EFFORT (default: %(default)s)")
    parser.add_argument("--lit", default="/usr/lib/llvm-22/bin/lit", help="the lit program (default: %(default)s)")
    parser.add_argument("--step", action="append", default=[], metavar="NAME=SECONDS",
                        help="a step done before, to be shown in the summary")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as scratch:
        suites = Runner(options, scratch).suites()
        results = run_suites(suites)

    for (kind, name, _), result in zip(suites, results):
        if result.failed:
            print(f"\n==== {kind} {name}: {result.failed} failed\n{result.output.rstrip()}")
    print_table(suites, results, [step.split("=", 1) for step in options.step])

    passed, failed, skipped = (sum(getattr(r, field) for r in results) for field in ("passed", "failed", "skipped"))
    print(f"\n{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed or passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
