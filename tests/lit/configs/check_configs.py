# SPDX-License-Identifier: Apache-2.0
"""Checks every variant of a folder with the tools on the PATH; one line per failure, exit code 1 if there is any.

For each: `tpac check` accepts it; its IR survives `tpa-opt --verify-roundtrip` and the way from the pretty to the generic form and
back without a change; it lowers to the target stage, where every function is a phase, malloc or free, and what a phase allocates it
frees. What the IR says is the business of other tests.
"""
import concurrent.futures
import os
import re
import subprocess
import sys
import time
from pathlib import Path


class Failure(Exception):
    pass


def run(command, text=None):
    process = subprocess.run(command, input=text, capture_output=True, text=True)
    if process.returncode != 0:
        raise Failure(f"{' '.join(command)}: exit code {process.returncode}\n{process.stderr.rstrip()}")
    return process.stdout


def first_difference(before, after):
    pairs = zip(before.splitlines() + ["(end)"], after.splitlines() + ["(end)"])
    return next(f"line {i}: {x.strip()}\n     and: {y.strip()}" for i, (x, y) in enumerate(pairs, 1) if x != y)


def roundtrip(modules):
    """The way of modules' IR from the pretty to the generic form and back. All take it together: starting a tool costs more."""
    pretty = run(["tpa-opt", "--split-input-file", "--verify-roundtrip"], "// -----\n".join(modules))
    generic = run(["tpa-opt", "--split-input-file", "--mlir-print-op-generic"], pretty)
    if generic.count('"tpa.merge"(') != len(modules):
        raise Failure("the generic form does not hold a generic tpa.merge for every module")
    again = run(["tpa-opt", "--split-input-file"], generic)
    if again != pretty:
        raise Failure(f"pretty -> generic -> pretty changes the IR\n{first_difference(pretty, again)}")


def check_roundtrips(shown):
    """Failures by config; `shown` has the IR by config. Where any fails, each is tried by itself."""
    try:
        roundtrip(list(shown.values()))
        return {}
    except Failure as together:
        failures = {}
        for config, text in shown.items():
            try:
                roundtrip([text])
            except Failure as failure:
                failures[config] = failure
        return failures or {next(iter(shown)): together}


def check_target(config):
    functions = re.split(r"^  llvm\.func ", run(["tpac", "show", config, "--stage", "target", "--reference"]), flags=re.M)[1:]
    names = sorted(re.match(r"@(\w+)", function).group(1) for function in functions)
    expected = ["append", "decode", "free", "malloc", "merge", "prefill"]
    if names != expected:
        raise Failure(f"functions at the target stage: expected {expected}, found {names}")
    for function in functions:
        allocated, freed = function.count("llvm.call @malloc("), function.count("llvm.call @free(")
        if allocated != freed:
            raise Failure(f"{function.split('(')[0]} calls malloc in {allocated} places and free in {freed}")


def check(config):
    """The variant level's IR of one config, None where there is none; and failures, as text."""
    shown, failures = None, []

    def show():
        nonlocal shown
        shown = run(["tpac", "show", str(config), "--stage", "variant"])

    for name, step in (("check", lambda: run(["tpac", "check", str(config)])), ("roundtrip", show),
                       ("target", lambda: check_target(str(config)))):
        try:
            step()
        except Failure as failure:
            failures.append(f"{config.name}: {name}: {failure}")
    return shown, failures


def main():
    configs = sorted(Path(sys.argv[1]).glob("*.json"))
    start = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(check, configs))
    failures = [failure for _, of_config in results for failure in of_config]
    shown = {config.name: text for config, (text, _) in zip(configs, results) if text}
    if shown:
        failures += [f"{name}: roundtrip: {failure}" for name, failure in check_roundtrips(shown).items()]
    for failure in failures:
        print(failure)
    print(f"{len(configs)} variants, {len(failures)} failures, {time.monotonic() - start:.1f} s")
    return 1 if failures or not configs else 0


if __name__ == "__main__":
    sys.exit(main())
