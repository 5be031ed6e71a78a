#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws decode on a GPU: times of BenchOnDevice's points beside those of bench/rivals/torch_sdpa_cuda.py, as SVG.

  bench/gpu/plot.py DECODE.json RIVALS.json -o DRAWING.svg [--group 32x64-r1]
"""
import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import plots  # noqa: E402

SERIES = {"tpac": ("tpac, TPA", "#0072b2"), "mqa": ("PyTorch SDPA, MQA", "#009e73"),
          "gqa4": ("PyTorch SDPA, GQA with groups of 4", "#56b4e9"), "mha": ("PyTorch SDPA, MHA", "#cc79a7")}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("decode", help="JSON of BenchOnDevice")
    parser.add_argument("rivals", help="JSON of torch_sdpa_cuda.py")
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--group", default="32x64-r1", help="heads x features, rank")
    parser.add_argument("--caption", action="append", default=[], help="a line below the title; may be repeated")
    options = parser.parse_args()
    decode, rivals = (json.loads(Path(name).read_text()) for name in (options.decode, options.rivals))
    if decode["device"] != rivals["device"]:
        parser.error(f"{options.rivals} was measured on {rivals['device']}, {options.decode} on {decode['device']}: expected one device")

    groups = {}
    for point in decode["best"]:
        if point["group"] == options.group and point["queries"] == 1:
            groups[(point["batch"], point["length"])] = ({"tpac": 1e6 * point["seconds"]}, 1e6 * point["memory_bound"])
    for point in rivals["points"]:
        if point["group"] == options.group and (point["batch"], point["length"]) in groups:
            groups[(point["batch"], point["length"])][0][point["rival"]] = 1e6 * point["seconds"]
    bars = [(f"{batch} request{'s' if batch > 1 else ''}", f"{plots.short(length)} cached tokens each", times, bound)
            for (batch, length), (times, bound) in sorted(groups.items())]
    if not plots.draw_bars(f"Decode on one {decode['device']}: one layer, {options.group}", options.caption, bars, SERIES,
                           "us per call (logarithmic; less is better)", "tpac's bytes at the rate of a copy", options.output):
        parser.error(f"{options.decode} has no points of {options.group}")


if __name__ == "__main__":
    main()
