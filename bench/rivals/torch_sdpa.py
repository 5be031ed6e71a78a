#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Times PyTorch's scaled_dot_product_attention on the CPU for the rows of bench/shapes.json that ask for it.

Writes JSON like Google Benchmark's, with the row names of PhaseBenchmarks and impl:torch-mha or impl:torch-gqa4, for
bench/report.py to join. Without torch it says so, writes nothing and ends with success: torch is no dependency.
"""
import argparse
import datetime
import json
import os
import re
import statistics
import sys
import time
from pathlib import Path

try:
    import torch
    import torch.nn.functional as functional
except ImportError as error:
    torch = None
    reason = str(error)

ROOT = Path(__file__).resolve().parent.parent.parent
GIB = 1 << 30


def merge_patch(target, patch):
    """JSON merge patch (RFC 7396), as PhaseBenchmarks applies it to the variants of shapes.json."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def read_variant(name, variants):
    if name in variants:
        return merge_patch(read_variant(variants[name]["base"], {}), variants[name]["patch"])
    return json.loads((ROOT / "configs" / f"{name}.json").read_text())


def features(side):
    if "dense" in side:
        return side["dense"]
    product = 1
    for factor in side["token"]:
        product *= factor["size"]
    return product


def local_heads(variant):
    begin, end = variant.get("head_range", [0, variant["heads"]])
    return end - begin


def as_list(value):
    return value if isinstance(value, list) else [value]


def rows(shapes, list_name, cpus):
    """(name without impl, rival, phase, variant, cached, tokens, requests, threads)"""
    seen = set()
    for entry in shapes["lists"][list_name]:
        rivals = [rival for rival in entry.get("rivals", []) if rival.startswith("torch-")]
        for config in entry["configs"] if rivals else []:
            variant = read_variant(config, shapes.get("variants", {}))
            for cached in as_list(entry.get("cached", 0)):
                for tokens in as_list(entry.get("tokens", 1)):
                    for requests in as_list(entry.get("requests", 1)):
                        for threads in as_list(entry.get("threads", cpus)):
                            if threads > cpus:
                                continue
                            # Rounded as in PhaseBenchmarks, so that the names are the same.
                            batch = -(-requests // threads) * threads
                            total = max(cached, tokens)
                            name = (f"{entry['phase']}/{config}/cached:{total}/tokens:{tokens}"
                                    f"/requests:{batch}/threads:{threads}")
                            for rival in rivals:
                                if (name, rival) not in seen:
                                    seen.add((name, rival))
                                    yield name, rival, entry["phase"], variant, total, tokens, batch, threads


def available_memory():
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 4 * GIB


class Skipped(Exception):
    pass


class Sets:
    """Tensors of several calls, so that going from one to the next meets cold caches."""

    def __init__(self, make, bytes_of_one, pool):
        if bytes_of_one > available_memory() / 2:
            raise Skipped(f"{bytes_of_one / GIB:.1f} GiB are needed; the limit is {available_memory() / 2 / GIB:.1f} GiB")
        count = max(1, min(-(-pool // bytes_of_one), available_memory() // 2 // bytes_of_one, 4096))
        self.sets = [make() for _ in range(count)]
        self.next = 0

    def take(self):
        self.next = (self.next + 1) % len(self.sets)
        return self.sets[self.next]


def random(*shape, device="cpu"):
    # Filled by bytes of one small block: drawing gigabytes of normal numbers takes longer than measuring.
    result = torch.empty(shape, dtype=torch.bfloat16, device=device)
    flat = result.view(-1)
    block = torch.empty(min(flat.numel(), 1 << 20), device=device).uniform_(-1, 1).to(torch.bfloat16)
    for begin in range(0, flat.numel(), block.numel()):
        part = flat[begin:begin + block.numel()]
        part.copy_(block[:part.numel()])
    return result


def seconds_per_call(sets, call, repetitions, seconds):
    """Median time of a call over `repetitions` passes of at least `seconds` each."""
    def run(calls):
        begin = time.perf_counter()
        for _ in range(calls):
            call(*sets.take())
        return (time.perf_counter() - begin) / calls

    with torch.inference_mode():
        calls = max(1, min(1 << 16, round(seconds / max(run(1), 1e-7))))
        calls = max(1, min(1 << 16, round(seconds / max(run(calls), 1e-7))))
        return statistics.median(run(calls) for _ in range(repetitions))


def masks(phase, total, tokens):
    """Arguments of SDPA for queries at the end of the cache: is_causal is top-left aligned."""
    if tokens == 1:
        return {}
    if tokens == total:
        return {"is_causal": True}
    visible = torch.ones(tokens, total, dtype=torch.bool).tril(diagonal=total - tokens)
    return {"attn_mask": visible}


def measure_dense(rival, phase, variant, total, tokens, batch, options):
    """K and V stored as they are. Returns seconds per call, counters, and how SDPA was called."""
    heads, d, e = local_heads(variant), features(variant["q"]), features(variant["v"])
    groups = heads
    if rival == "torch-gqa4":
        groups = 4
        heads = -(-heads // groups) * groups  # heads must be a multiple of the groups
    bytes_of_one = batch * total * groups * (d + e) * 2
    sets = Sets(lambda: (random(batch, heads, tokens, d), random(batch, groups, total, d), random(batch, groups, total, e)),
                bytes_of_one, options.pool)
    arguments = masks(phase, total, tokens)
    per_group = heads // groups

    def plain(q, k, v):
        return functional.scaled_dot_product_attention(q, k, v, **arguments)

    def grouped(q, k, v):
        return functional.scaled_dot_product_attention(q, k, v, enable_gqa=True, **arguments)

    def expanded(q, k, v):
        k = k.unsqueeze(2).expand(-1, -1, per_group, -1, -1).flatten(1, 2)
        v = v.unsqueeze(2).expand(-1, -1, per_group, -1, -1).flatten(1, 2)
        return functional.scaled_dot_product_attention(q, k, v, **arguments)

    def folded(q, k, v):
        # One query token: the heads of a group are as good as several query tokens of one head.
        return functional.scaled_dot_product_attention(q.reshape(batch, groups, per_group, d), k, v)

    ways = {"plain": plain}
    if groups != heads:
        ways = {"enable_gqa": grouped, "expanded": expanded}
        if tokens == 1:
            ways["folded"] = folded
    times = {way: seconds_per_call(sets, call, options.repetitions, options.seconds) for way, call in ways.items()}
    best = min(times, key=times.get)
    counters = {"bytes": bytes_of_one, "heads": heads, "pool_bytes": bytes_of_one * len(sets.sets)}
    return times[best], counters, best


def contraction_seconds(variant, total, batch, options):
    """Q, K and V of all heads from their factors: what comes before SDPA where a model has factors. 0 where no side has
    contextual factors of second order."""
    heads = local_heads(variant)
    seconds = 0.0
    for side in (variant["q"], variant["k"], variant["v"]):
        if "dense" in side or side["head"]["source"] != "contextual" or len(side["token"]) != 1:
            continue
        rank, size = side["rank"], features(side)
        sets = Sets(lambda: (random(batch * total, heads, rank), random(batch * total, rank, size)),
                    batch * total * (heads + size) * rank * 2, options.pool)
        seconds += seconds_per_call(sets, torch.bmm, options.repetitions, options.seconds)
    return seconds


def benchmark(row, options):
    """Rows of the table: SDPA, and for prefill of factored members also SDPA after contraction."""
    name, rival, phase, variant, total, tokens, batch, threads = row

    def result(implementation, seconds, counters, label):
        related = batch * (total if phase == "decode" else tokens)
        return {
            "name": f"{name}/impl:{implementation}", "run_type": "iteration", "iterations": 1, "time_unit": "ms",
            "label": label, "real_time": seconds * 1e3, "cpu_time": seconds * 1e3, "call_ms": seconds * 1e3,
            "ns_per_token": seconds / related * 1e9, "bytes_per_token": counters["bytes"] / related,
            "GBps": counters["bytes"] / seconds * 1e-9, "cold": float(counters["pool_bytes"] >= 2 * GIB), **counters,
        }

    try:
        torch.set_num_threads(threads)
        seconds, counters, way = measure_dense(rival, phase, variant, total, tokens, batch, options)
        results = [result(rival, seconds, counters, way)]
        if rival == "torch-mha" and phase == "prefill" and tokens == total:
            contraction = contraction_seconds(variant, total, batch, options)
            if contraction:
                results.append(result("torch-contract", contraction + seconds, counters, f"contraction, then {way}"))
        return results
    except (Skipped, RuntimeError) as error:
        return [{"name": f"{name}/impl:{rival}", "error_occurred": True, "error_message": str(error).splitlines()[0]}]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, help="JSON file to write")
    parser.add_argument("--shapes", default=str(ROOT / "bench" / "shapes.json"))
    parser.add_argument("--list", help="list of the shapes file (default: full; quick with --quick)")
    parser.add_argument("--filter", default=".", help="regular expression on the names of rows")
    parser.add_argument("--quick", action="store_true", help="small pool, few repetitions")
    options = parser.parse_args()
    Path(options.out).unlink(missing_ok=True)  # figures of another run would be joined with this one's
    if torch is None:
        print(f"torch_sdpa: skipped: torch cannot be imported ({reason})", file=sys.stderr)
        return
    options.pool = (256 << 20) if options.quick else 2 * GIB
    options.repetitions = 3 if options.quick else 9
    options.seconds = 0.02 if options.quick else 0.2

    shapes = json.loads(Path(options.shapes).read_text())
    cpus = len(os.sched_getaffinity(0))
    results = []
    for row in rows(shapes, options.list or ("quick" if options.quick else "full"), cpus):
        if not re.search(options.filter, f"{row[0]}/impl:{row[1]}"):
            continue
        for result in benchmark(row, options):
            results.append(result)
            outcome = f"skipped: {result['error_message']}" if "error_message" in result else \
                f"ns_per_token={result['ns_per_token']:.4g} ({result['label']})"
            print(f"{result['name']}: {outcome}", file=sys.stderr)
    context = {"date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"), "executable": "torch_sdpa.py",
               "torch": torch.__version__, "torch_cpu_capability": torch.backends.cpu.get_cpu_capability(),
               "num_cpus": cpus}
    Path(options.out).write_text(json.dumps({"context": context, "benchmarks": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
