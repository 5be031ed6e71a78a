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
from xml.sax.saxutils import escape

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
            "%ceil", "GFLOP/s", "%FMA", "%AMX", "cold", "x mat", "x mha", "x gqa4", "x contr", "x 1thr"]
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
            "yes" if row.get("cold") else "no", *ratios, number(ratio(single, row)),
        ])
    return aligned(head, lines, 3)


def ceiling_table(ceilings):
    lines = [[entry["name"].split("/iterations:")[0], number(entry.get("GBps")), number(entry.get("GBps_max")),
              number(entry.get("GFLOPs"), 4), number(entry.get("GFLOPs_max"), 4), entry.get("label", "")]
             for entry in ceilings if not entry.get("error_occurred")]
    return aligned(["limit", "GB/s", "most", "GFLOP/s", "most", "how"], lines, 1)


# Drawings. Coordinates in pixels; y grows downwards.

COLOURS = ["#1b6ca8", "#d1495b", "#2e933c", "#8d5a97", "#e08e0b", "#3a3a3a", "#00a6a6", "#a0522d"]
DASHES = {"tpac": "none", "materialised": "6 3", "torch-mha": "2 3", "torch-gqa4": "8 3 2 3", "torch-contract": "1 3"}
FONT = 'font-family="sans-serif" font-size="12"'


class Svg:
    def __init__(self, width, height, title):
        self.parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
                      f'viewBox="0 0 {width} {height}" {FONT}>',
                      f'<rect width="{width}" height="{height}" fill="white"/>']
        self.text(16, 24, title, size=15, weight="bold")

    def text(self, x, y, text, anchor="start", size=12, weight="normal", colour="#222"):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" '
                          f'fill="{colour}">{escape(text)}</text>')

    def line(self, x0, y0, x1, y1, colour="#ddd", width=1.0, dash="none"):
        self.parts.append(f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}" stroke="{colour}" '
                          f'stroke-width="{width}" stroke-dasharray="{dash}"/>')

    def path(self, points, colour, dash):
        coordinates = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.parts.append(f'<polyline points="{coordinates}" fill="none" stroke="{colour}" stroke-width="2" '
                          f'stroke-dasharray="{dash}"/>')
        for x, y in points:
            self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>')

    def box(self, x, y, width, height, colour):
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>')

    def write(self, path):
        Path(path).write_text("\n".join([*self.parts, "</svg>"]) + "\n")


def short(value):
    for unit, size in (("M", 1 << 20), ("k", 1 << 10)):
        if value >= size and value % size == 0:
            return f"{value // size}{unit}"
    return str(value)


def decode_rows(rows):
    """One query token, on as many threads as any row has: the rows that plots compare."""
    rows = [row for row in rows if row.phase == "decode" and row.tokens == 1 and not row.skipped]
    threads = max((row.threads for row in rows), default=0)
    return [row for row in rows if row.threads == threads]


def draw_times(rows, caption, path):
    """Time per cached token against cached tokens, both logarithmic; one line per config and implementation. Configs
    that were measured at one length only are left out if others were at several."""
    series = {}
    for row in decode_rows(rows):
        points = series.setdefault((row.config, row.impl), {})
        # Of several batch sizes the smallest.
        if row.cached not in points or row.requests < points[row.cached].requests:
            points[row.cached] = row
    longest = max((len(points) for points in series.values()), default=0)
    if not longest:
        return False
    lengthy = {config for (config, impl), points in series.items() if len(points) > 1 or longest == 1}
    series = {key: points for key, points in series.items() if key[0] in lengthy}
    values = [row.get("ns_per_token") for points in series.values() for row in points.values()]
    lengths = sorted({cached for points in series.values() for cached in points})
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    high = max(high, low + 1)

    left, top, width, height = 70, 70, 520, max(320, 18 * len(series))
    svg = Svg(left + width + 270, top + height + 60, "Decode: time per cached token")
    svg.text(16, 44, caption, size=11, colour="#666")
    first, last = math.log2(lengths[0]), math.log2(lengths[-1])

    def x_of(cached):
        return left + width * (0.5 if first == last else 0.03 + 0.94 * (math.log2(cached) - first) / (last - first))

    def y_of(nanoseconds):
        return top + height * (1 - (math.log10(nanoseconds) - low) / (high - low))

    for exponent in range(low, high + 1):
        for step in (1, 2, 5) if exponent < high else (1,):
            tick = step * 10.0**exponent
            svg.line(left, y_of(tick), left + width, y_of(tick), "#bbb" if step == 1 else "#eee")
            svg.text(left - 6, y_of(tick) + 4, f"{tick:g}", "end")
    for cached in lengths:
        svg.line(x_of(cached), top, x_of(cached), top + height, "#eee")
        svg.text(x_of(cached), top + height + 18, short(cached), "middle")
    svg.text(left + width / 2, top + height + 42, "cached tokens per request", "middle")
    svg.text(left - 6, top - 10, "ns", "end")
    configs = list(dict.fromkeys(config for config, impl in series))
    for index, ((config, impl), points) in enumerate(series.items()):
        colour = COLOURS[configs.index(config) % len(COLOURS)]
        dash = DASHES.get(impl, "1 2")
        svg.path([(x_of(cached), y_of(points[cached].get("ns_per_token"))) for cached in sorted(points)], colour, dash)
        y = top + 10 + 18 * index
        svg.line(left + width + 16, y - 4, left + width + 44, y - 4, colour, 2, dash)
        svg.text(left + width + 50, y, f"{config} {impl}")
    svg.write(path)
    return True


def draw_fractions(rows, caption, path):
    """Fraction of the read ceiling in decode, per config, at its longest cache."""
    longest = {}
    for row in decode_rows(rows):
        if row.impl == "tpac" and row.get("ceiling_fraction") is not None:
            known = longest.get(row.config)
            if known is None or (row.cached, -row.requests) > (known.cached, -known.requests):
                longest[row.config] = row
    if not longest:
        return False
    left, top, width, step = 210, 76, 460, 24
    svg = Svg(left + width + 150, top + step * len(longest) + 50, "Decode: fraction of the memory ceiling")
    svg.text(16, 44, caption, size=11, colour="#666")
    bottom = top + step * len(longest)
    # A kernel may read faster than the ceiling's walk by chance; bars are not cut.
    most = max(1.0, max(row.get("ceiling_fraction") for row in longest.values()))
    for tick in range(0, 101, 20):
        x = left + width * tick / 100 / most
        svg.line(x, top - 6, x, bottom, "#bbb" if tick in (0, 100) else "#e4e4e4")
        svg.text(x, bottom + 18, f"{tick}%", "middle")
    for index, row in enumerate(longest.values()):
        y = top + step * index
        fraction = row.get("ceiling_fraction")
        svg.text(left - 8, y + 13, row.config, "end")
        svg.box(left, y, width * fraction / most, step - 8, COLOURS[0])
        svg.text(left + width * fraction / most + 6, y + 13,
                 f"{percent(fraction)}%  {number(row.get('ns_per_token'))} ns, {short(row.cached)}", colour="#444")
    svg.write(path)
    return True


def machine(contexts):
    """What figures hold for, in one line. PhaseBenchmarks knows more than CeilingBenchmarks."""
    known = [context for context in contexts.values() if "cpu_model" in context]
    if not known:
        return "unknown machine"
    context = max(known, key=len)
    parts = [context["cpu_model"], f"{context['cpus']} CPUs"]
    if "kernels" in context:
        parts += [f"vectors {context['vectors_of_ceilings']}", f"AMX {context['amx']}",
                  f"{context['kernels']} kernels for {context['target']}"]
    return "; ".join([*parts, context["compiler"], context["date"]])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", help="JSON of benchmark programs")
    parser.add_argument("--plots", help="folder for SVG files, made if missing")
    options = parser.parse_args()
    contexts, rows, ceilings = read(options.files)
    caption = machine(contexts)
    print(caption)
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
        for name, draw in (("decode-time.svg", draw_times), ("decode-ceiling.svg", draw_fractions)):
            (folder / name).unlink(missing_ok=True)
            if draw(rows, caption, folder / name):
                print(f"\nwrote {folder / name}")


if __name__ == "__main__":
    main()
