#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints the results of benchmark programs as one aligned table, and draws them as SVG.

Reads JSON of Google Benchmark (PhaseBenchmarks, CeilingBenchmarks) and of bench/rivals/torch_sdpa.py. It computes
nothing but ratios between rows of the same name. Columns: docs/benchmarks.md. Standard library only.
"""
import argparse
import json
import math
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

import plots

NAME = re.compile(r"(?P<phase>append|decode|prefill|merge)/(?P<config>[^/]+)/cached:(?P<cached>\d+)/tokens:(?P<tokens>\d+)"
                  r"/requests:(?P<requests>\d+)/threads:(?P<threads>\d+)/impl:(?P<impl>[^/]+)")
RIVALS = ["materialised", "torch-mha", "torch-gqa4", "torch-contract"]


@dataclass
class Row:
    phase: str
    config: str
    cached: int
    tokens: int
    requests: int
    threads: int
    impl: str
    values: dict = field(default_factory=dict)
    skipped: str = ""

    def key(self):
        return self.phase, self.config, self.cached, self.tokens, self.requests, self.threads

    def get(self, name):
        value = self.values.get(name)
        return value if isinstance(value, (int, float)) else None


def read(paths):
    """(contexts by file name, rows of phases, ceilings: dicts)"""
    contexts, rows, ceilings = {}, [], []
    for path in paths:
        try:
            text = Path(path).read_text()
            if not text:
                continue  # Google Benchmark leaves an empty file where no name matches the filter
            content = json.loads(text)
        except (OSError, ValueError) as error:
            sys.exit(f"report: {path}: {error}")
        contexts[Path(path).name] = content["context"]
        for entry in content["benchmarks"]:
            match = NAME.match(entry["name"])
            if match:
                number = {key: int(match[key]) for key in ("cached", "tokens", "requests", "threads")}
                rows.append(Row(match["phase"], match["config"], impl=match["impl"], values=entry,
                                skipped=entry.get("error_message", ""), **number))
            else:
                ceilings.append(entry)
    return contexts, rows, ceilings


def number(value, digits=3):
    """Three significant digits, without exponents."""
    if value is None:
        return "-"
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(decimals, 4)}f}"


def percent(value):
    return "-" if value is None else f"{100 * value:.1f}" if value < 0.1 else f"{100 * value:.0f}"


def aligned(head, lines, left):
    """The first `left` columns to the left, the others, numbers, to the right."""
    widths = [max(len(line[column]) for line in [head, *lines]) for column in range(len(head))]
    def one(line):
        cells = (text.ljust(width) if column < left else text.rjust(width)
                 for column, (text, width) in enumerate(zip(line, widths)))
        return "  ".join(cells).rstrip()
    return "\n".join([one(head), one(["-" * width for width in widths]), *map(one, lines)])


def ratio(other, row):
    """How many times the time per token of `row` that of `other` is."""
    if other is None or other.skipped or not other.get("ns_per_token") or not row.get("ns_per_token"):
        return None
    return other.get("ns_per_token") / row.get("ns_per_token")


def table(rows):
    by_key = {(row.key(), row.impl): row for row in rows}
    order = {key: index for index, key in enumerate(dict.fromkeys(row.key() for row in rows))}
    head = ["phase", "config", "impl", "cached", "tokens", "req", "thr", "ms/call", "ns/token", "B/token", "GB/s", "ceiling",
            "%ceil", "GFLOP/s", "%FMA", "%AMX", "bound", "cold", "x mat", "x mha", "x gqa4", "x contr", "x 1thr"]
    lines = []
    for row in sorted(rows, key=lambda row: (order[row.key()], row.impl != "tpac", row.impl)):
        if row.skipped:
            continue
        ratios = [number(ratio(by_key.get((row.key(), rival)), row)) if row.impl == "tpac" else "-" for rival in RIVALS]
        single = by_key.get((row.key()[:-1] + (1,), row.impl)) if row.threads > 1 else None
        if single is None and row.threads > 1:
            # The same with as many requests per thread.
            key = (row.phase, row.config, row.cached, row.tokens, row.requests // row.threads, 1)
            single = by_key.get((key, row.impl))
        lines.append([
            row.phase, row.config, row.impl, str(row.cached), str(row.tokens), str(row.requests), str(row.threads),
            number(row.get("call_ms")), number(row.get("ns_per_token")), number(row.get("bytes_per_token")),
            number(row.get("GBps")), number(row.get("ceiling_GBps")), percent(row.get("ceiling_fraction")),
            number(row.get("GFLOPs")), percent(row.get("fma_fraction")), percent(row.get("amx_fraction")),
            number(row.get("bound_ms")), "yes" if row.get("cold") else "no", *ratios, number(ratio(single, row)),
        ])
    return aligned(head, lines, 3)


def ceiling_table(ceilings):
    lines = [[entry["name"].split("/iterations:")[0], number(entry.get("GBps")), number(entry.get("GBps_max")),
              number(entry.get("GFLOPs"), 4), number(entry.get("GFLOPs_max"), 4), entry.get("label", "")]
             for entry in ceilings if not entry.get("error_occurred")]
    return aligned(["limit", "GB/s", "most", "GFLOP/s", "most", "how"], lines, 1)


def machine(contexts):
    """What figures hold for, in two lines. PhaseBenchmarks knows more than CeilingBenchmarks."""
    known = [context for context in contexts.values() if "cpu_model" in context]
    if not known:
        return ["unknown machine"]
    context = max(known, key=len)
    first = [context["cpu_model"], f"{context['cpus']} CPUs"]
    if "kernels" in context:
        first += [f"vectors {context['vectors_of_ceilings']}", f"AMX {context['amx']}"]
    second = [f"{context['kernels']} kernels for {context['target']}"] if "kernels" in context else []
    return ["; ".join(first), "; ".join([*second, context["compiler"], context["date"][:10]])]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", help="JSON of benchmark programs")
    parser.add_argument("--plots", help="folder for SVG files, made if missing")
    options = parser.parse_args()
    contexts, rows, ceilings = read(options.files)
    caption = machine(contexts)
    print("; ".join(caption))
    for context in contexts.values():
        if "torch" in context:
            print(f"PyTorch {context['torch']}, {context['torch_cpu_capability']}; {context['date']}")
    if ceilings:
        print("\n" + ceiling_table(ceilings))
    if rows:
        print("\n" + table(rows))
    skipped = [(row.config, row.values["name"].split("/iterations:")[0], row.skipped) for row in rows if row.skipped]
    skipped += [("", entry["name"].split("/iterations:")[0], entry["error_message"]) for entry in ceilings
                if entry.get("error_occurred")]
    if skipped:
        print("\nskipped:")
        for _, name, reason in skipped:
            print(f"  {name}: {reason}")
    if options.plots:
        folder = Path(options.plots)
        folder.mkdir(parents=True, exist_ok=True)
        for name, draw in plots.DRAWINGS.items():
            (folder / name).unlink(missing_ok=True)
            if draw(rows, caption, folder / name):
                print(f"\nwrote {folder / name}")


if __name__ == "__main__":
    main()
