# SPDX-License-Identifier: Apache-2.0
"""Drawings of report.py's rows as SVG. Standard library only."""
import math
from pathlib import Path
from xml.sax.saxutils import escape

# Colours that the colour-blind tell apart (Okabe and Ito); marks differ besides.
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"]
IMPLEMENTATIONS = {"tpac": ("tpac", "#0072b2"), "materialised": ("K and V materialised, our kernels", "#e69f00"),
                   "torch-gqa4": ("PyTorch SDPA, GQA with groups of 4", "#56b4e9"),
                   "torch-mha": ("PyTorch SDPA, MHA", "#cc79a7"), "torch-contract": ("contract, then PyTorch SDPA", "#009e73")}
GREY, LIGHT, DARK = "#bbb", "#e6e6e6", "#444"


class Svg:
    """Coordinates in pixels; y grows downwards."""

    def __init__(self, width, height, title, caption):
        self.parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
                      f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
                      f'<rect width="{width}" height="{height}" fill="white"/>']
        self.text(16, 24, title, size=15, weight="bold")
        for i, line in enumerate(caption):
            self.text(16, 44 + 15 * i, line, size=11, colour="#666")

    def text(self, x, y, text, anchor="start", size=12, weight="normal", colour="#222", turned=False):
        turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turned else ""
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" '
                          f'fill="{colour}"{turn}>{escape(text)}</text>')

    def line(self, x0, y0, x1, y1, colour=LIGHT, width=1.0, dash="none"):
        self.parts.append(f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}" stroke="{colour}" '
                          f'stroke-width="{width}" stroke-dasharray="{dash}"/>')

    def box(self, x, y, width, height, colour):
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>')

    def mark(self, number, x, y, colour):
        """A circle, square, triangle or diamond."""
        if number % 4 == 0:
            self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>')
            return
        corners = [[(-4, -4), (4, -4), (4, 4), (-4, 4)], [(-5, 4), (5, 4), (0, -5)], [(-5, 0), (0, -5), (5, 0), (0, 5)]]
        points = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners[number % 4 - 1])
        self.parts.append(f'<polygon points="{points}" fill="{colour}"/>')

    def curve(self, number, points, colour, dash="none"):
        coordinates = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.parts.append(f'<polyline points="{coordinates}" fill="none" stroke="{colour}" stroke-width="2" '
                          f'stroke-dasharray="{dash}"/>')
        for x, y in points:
            self.mark(number, x, y, colour)

    def write(self, path):
        Path(path).write_text("\n".join([*self.parts, "</svg>"]) + "\n")


def short(value):
    for unit, size in (("M", 1 << 20), ("k", 1 << 10)):
        if value >= size and value % size == 0:
            return f"{value // size}{unit}"
    return str(value)


def on_most_threads(rows, phase):
    rows = [row for row in rows if row.phase == phase and not row.skipped]
    threads = max((row.threads for row in rows), default=0)
    return [row for row in rows if row.threads == threads], threads


def decode_rows(rows):
    """One query token, on as many threads as any row has: the rows that plots compare."""
    rows, threads = on_most_threads(rows, "decode")
    return [row for row in rows if row.tokens == 1], threads


def draw_bars(title, caption, groups, series, axis, mark, path):
    """A group of bars for each of `groups`: (name, second line, {series: value}, value of the mark or None). `series`: (text,
    colour) by name, from top to bottom; `axis`: the label of the logarithmic axis; `mark`: what the mark is."""
    if not groups:
        return False
    values = [value for _, _, bars, _ in groups for value in bars.values()]
    marks = [at for *_, at in groups if at]
    low, high = 10.0**math.floor(math.log10(min(values + marks) / 1.5)), 2 * max(values)
    used = [name for name in series if any(name in bars for _, _, bars, _ in groups)]

    bar, gap = 17, 16
    left, top, width = 190, 76, 520
    # A group's two lines of text need two bars' height.
    height = sum(bar * max(2, len(bars)) + gap for _, _, bars, _ in groups)
    svg = Svg(left + width + 60, top + height + 80 + 18 * ((len(used) + 2) // 2), title, caption)
    bottom = top + height

    def x_of(value):
        return left + width * math.log(value / low) / math.log(high / low)

    tick, named = low, (1, 2, 5) if high / low < 3000 else (1,)
    while tick <= high:
        for step in (1, 2, 5):
            if tick * step <= high:
                svg.line(x_of(tick * step), top, x_of(tick * step), bottom, GREY if step == 1 else LIGHT)
                if step in named:
                    svg.text(x_of(tick * step), bottom + 18, f"{tick * step:g}", "middle")
        tick *= 10
    svg.text(left + width / 2, bottom + 38, axis, "middle")
    y = top + gap / 2
    for name, second, bars, at in groups:
        middle, after = y + bar * max(2, len(bars)) / 2, y + bar * max(2, len(bars)) + gap
        svg.text(left - 8, middle - 2, name, "end", weight="bold")
        svg.text(left - 8, middle + 12, second, "end", size=11, colour="#666")
        y = middle - bar * len(bars) / 2
        for number, one in enumerate(one for one in used if one in bars):
            end = x_of(bars[one])
            svg.box(left, y, end - left, bar - 3, series[one][1])
            svg.text(end + 6, y + 11, f"{bars[one]:.0f}" if bars[one] >= 100 else f"{bars[one]:.3g}", colour=DARK)
            if number == 0 and at:
                svg.line(x_of(at), y - 3, x_of(at), y + bar, "#000", 2.5)
            y += bar
        y = after
    for number, (text, colour) in enumerate([*(series[one] for one in used), (mark, None)]):
        x, y = left - 100 + 320 * (number % 2), bottom + 62 + 18 * (number // 2)
        if colour:
            svg.box(x, y - 10, 22, 12, colour)
        else:
            svg.line(x + 11, y - 12, x + 11, y + 3, "#000", 2.5)
        svg.text(x + 30, y, text)
    svg.write(path)
    return True


def draw_times(rows, caption, path):
    """Time per cached token, a group of bars per config: tpac, its memory ceiling as a mark, and rivals. Of each config the
    length that most implementations have, the longest of these."""
    rows, threads = decode_rows(rows)
    groups = {}
    for row in rows:
        if row.impl in IMPLEMENTATIONS and row.get("ns_per_token"):
            groups.setdefault((row.config, row.cached, row.requests), {})[row.impl] = row
    best = {}
    for (config, cached, requests), group in groups.items():
        known = best.get(config)
        if "tpac" in group and (known is None or (len(group), cached, -requests) > known[0]):
            best[config] = ((len(group), cached, -requests), cached, group)
    bars = []
    for config, (_, cached, group) in best.items():
        ours = group["tpac"]
        ceiling = ours.get("bytes_per_token") / ours.get("ceiling_GBps") if ours.get("ceiling_GBps") else None
        bars.append((config, f"{short(cached)} cached tokens",
                     {impl: row.get("ns_per_token") for impl, row in group.items()}, ceiling))
    return draw_bars("Decode: time per cached token", caption, bars, IMPLEMENTATIONS,
                     f"ns per cached token, {threads} threads (logarithmic; less is better)",
                     "tpac's bytes at the memory ceiling", path)


def draw_curves(title, caption, curves, axes, path):
    """Curves by name, [(tokens, value)] each: tokens logarithmic, values from 0. `axes`: x's label, y's label, text of a value,
    least top of y, step of y's ticks (None: by the values)."""
    x_label, y_label, value_text, least, step = axes
    curves = {name: sorted(points) for name, points in curves.items() if points}
    if not curves:
        return False
    lengths = sorted({x for points in curves.values() for x, _ in points})
    most = max(least, 1.08 * max(y for points in curves.values() for _, y in points))
    if step is None:
        step = 10.0**math.floor(math.log10(most))
        step *= 0.2 if most / step < 2 else 0.5 if most / step < 5 else 1
    left, top, width, height = 70, 76, 480, 300
    svg = Svg(left + width + 210, top + height + 60, title, caption)
    first, last = math.log2(lengths[0]), math.log2(lengths[-1])

    def x_of(tokens):
        return left + width * (0.5 if first == last else 0.04 + 0.92 * (math.log2(tokens) - first) / (last - first))

    def y_of(value):
        return top + height * (1 - value / most)

    for tick in range(int(most / step + 1e-9) + 1):
        svg.line(left, y_of(tick * step), left + width, y_of(tick * step), GREY if tick == 0 else LIGHT)
        svg.text(left - 8, y_of(tick * step) + 4, value_text(tick * step), "end")
    for length in lengths:
        svg.line(x_of(length), top, x_of(length), top + height, LIGHT)
        svg.text(x_of(length), top + height + 18, short(length), "middle")
    svg.text(left + width / 2, top + height + 42, x_label, "middle")
    svg.text(18, top + height / 2, y_label, "middle", turned=True)
    for number, (name, points) in enumerate(curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        svg.curve(number, [(x_of(x), y_of(y)) for x, y in points], colour)
        y = top + 12 + 20 * number
        svg.line(left + width + 20, y - 4, left + width + 48, y - 4, colour, 2)
        svg.mark(number, left + width + 34, y - 4, colour)
        svg.text(left + width + 56, y, name)
    svg.write(path)
    return True


def draw_shares(rows, caption, path):
    """Share of the memory ceiling against cached tokens, of configs that were measured at the most lengths."""
    rows, threads = decode_rows(rows)
    curves = {}
    for row in rows:
        if row.impl == "tpac" and row.get("ceiling_fraction") is not None:
            # Of several batch sizes the smallest.
            points = curves.setdefault(row.config, {})
            if row.cached not in points or row.requests < points[row.cached].requests:
                points[row.cached] = row
    longest = max(map(len, curves.values()), default=0)
    curves = {config: [(cached, 100 * row.get("ceiling_fraction")) for cached, row in points.items()]
              for config, points in curves.items() if 2 * len(points) > longest}
    return draw_curves("Decode: share of the memory ceiling", caption, curves,
                       ("cached tokens per request (logarithmic)", f"% of the read bandwidth, {threads} threads",
                        lambda value: f"{value:g}%", 100, 20), path)


def draw_prefill(rows, caption, path):
    """Operations per second against tokens of fresh sequences."""
    rows, threads = on_most_threads(rows, "prefill")
    curves = {}
    for row in rows:
        if row.tokens == row.cached and row.tokens > 1 and row.get("multiply_adds") and row.get("call_ms"):
            flops = 2e-6 * row.get("multiply_adds") / row.get("call_ms")
            curves.setdefault(f"{row.config} {row.impl}", []).append((row.tokens, flops))
    return draw_curves("Prefill: operations per second", caption, curves,
                       ("tokens per request (logarithmic)", f"GFLOP/s, {threads} threads (4 D per visible pair and head)",
                        lambda value: f"{value:g}", 0, None), path)


DRAWINGS = {"decode-time.svg": draw_times, "decode-ceiling.svg": draw_shares, "prefill.svg": draw_prefill}
