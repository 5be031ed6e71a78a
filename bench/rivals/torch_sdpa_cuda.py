#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Times decode by PyTorch's scaled_dot_product_attention on a GPU: one query token over dense keys and values in bf16.

The rivals of BenchOnDevice's points (bench/gpu): MHA of the same heads, GQA with groups of 4 and MQA, each with the
fastest of SDPA's backends. A time is the median over replays of a CUDA graph of calls that go through caches of 512 MiB
or more in turn, so that L2 is cold and the host's launches do not count. Writes one JSON file for bench/gpu/plot.py.
"""
import argparse
import json
import statistics
import sys

import torch
import torch.nn.functional as functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch_sdpa import random

# (name as in BenchOnDevice, heads, features); its 36 points have these requests and cached tokens.
SHAPES = {"32x64-r1": (32, 64), "48x64-r1": (48, 64), "47x64-r2": (47, 64), "78x64-r2": (78, 64), "32x128-r1": (32, 128),
          "64x128-r2": (64, 128)}
REQUESTS, LENGTHS = (1, 16), (4096, 65536, 262144, 524288)
BACKENDS = {"cudnn": SDPBackend.CUDNN_ATTENTION, "flash": SDPBackend.FLASH_ATTENTION}
POOL = 512 << 20


def seconds_per_call(calls, replays):
    """`calls`: functions, each with tensors of its own, which one graph holds in turn."""
    for call in calls[:2]:
        call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for call in calls:
            call()
    times = []
    for _ in range(replays + 1):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) * 1e-3 / len(calls))
    return statistics.median(times[1:])


def measure(heads, groups, size, requests, length, backend, replays):
    """Seconds of a call, None where the backend does not take such tensors."""
    bytes_of_one = 2 * requests * groups * length * size * 2
    shapes = ((requests, heads, 1, size), (requests, groups, length, size), (requests, groups, length, size))
    sets = [[random(*shape, device="cuda") for shape in shapes] for _ in range(-(-POOL // bytes_of_one))]

    def call(q, k, v):
        if groups == heads:
            return functional.scaled_dot_product_attention(q, k, v)
        # One query token: the heads of a group are as good as several query tokens of one head.
        return functional.scaled_dot_product_attention(q.reshape(requests, groups, heads // groups, size), k, v)

    def way(tensors):
        return lambda: call(*tensors)

    try:
        with torch.inference_mode(), sdpa_kernel(backend):
            count = max(len(sets), 8)
            return seconds_per_call([way(sets[i % len(sets)]) for i in range(count)], replays)
    except RuntimeError:
        return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, help="JSON file to write")
    parser.add_argument("--shape", choices=SHAPES, action="append", help="default: all")
    parser.add_argument("--replays", type=int, default=15)
    options = parser.parse_args()
    points = []
    for name in options.shape or SHAPES:
        heads, size = SHAPES[name]
        for rival, groups in (("mha", heads), ("gqa4", 4), ("mqa", 1)):
            if heads % groups != 0:
                continue
            for requests in REQUESTS:
                for length in LENGTHS:
                    # 524288 tokens stand for one request, 262144 for sixteen, as among BenchOnDevice's points.
                    cache = 4 * requests * groups * length * size
                    if length == (262144 if requests == 1 else 524288) or cache > torch.cuda.mem_get_info()[0] * 0.6:
                        continue
                    times = {label: measure(heads, groups, size, requests, length, backend, options.replays)
                             for label, backend in BACKENDS.items()}
                    known = {label: seconds for label, seconds in times.items() if seconds}
                    if not known:
                        continue
                    best = min(known, key=known.get)
                    points.append({"group": name, "rival": rival, "batch": requests, "length": length, "backend": best,
                                   "seconds": known[best], "bytes": cache})
                    print(f"{name} {rival} {requests} x {length}: {known[best] * 1e6:.1f} us ({best}, "
                          f"{cache / known[best] * 1e-9:.0f} GB/s)", file=sys.stderr)
                    torch.cuda.empty_cache()
    result = {"device": torch.cuda.get_device_name(), "torch": torch.__version__, "cudnn": torch.backends.cudnn.version(),
              "points": points}
    with open(options.out, "w") as file:
        json.dump(result, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
