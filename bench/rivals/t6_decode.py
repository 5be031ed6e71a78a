# SPDX-License-Identifier: Apache-2.0
"""Decode tokens per second of a whole T6 on a GPU: tpac.torch.T6 with a pack's kernels beside the authors' inference class.

  t6_decode.py --pack PACK [--authors T6_infer.py] [--shape BATCHxCACHED ...] --out FILE.json

The models have random weights of the pack's variant and no more layers than asked for. The authors' file is that of their
repository (model/T6_infer.py); as published it cannot decode (its constructor and the shapes of its cached factors are at
fault), so that four lines are corrected while it is read. Both sides take a token of each request per step, in bf16."""
import argparse
import json
import re
import statistics
import time
import types

import torch

import tpac
import tpac.torch

#: what is wrong in the authors' file, and what was meant
CORRECTIONS = [
    ("self.wo = nn.Linear(self.n_head * self.head_dim, self.n_embd,", "self.wo = nn.Linear(self.n_head * self.head_dim, self.dim,"),
    ("def reset_parameters(self, args):", "def reset_parameters(self):"),
    (r"(A|B)_([kv]) = \1_\2.view\(bsz \* seqlen,", r"\1_\2 = \1_\2.reshape(bsz * (start_pos + seqlen),"),
    (r"\.div_\(self\.rank\)\.view\(bsz, seqlen,", ".div_(self.rank).view(bsz, start_pos + seqlen,"),
]


#: how PyTorch runs the model: op by op, or compiled, with CUDA graphs
MODES = ("eager", "graphs")


def read_authors(path):
    text = open(path).read()
    for wrong, right in CORRECTIONS:
        text, count = re.subn(wrong if "\\" in wrong else re.escape(wrong), right, text)
        if count == 0:
            raise SystemExit(f"{path}: found no '{wrong}'; expected model/T6_infer.py of the authors' repository")
    module = types.ModuleType("authors")
    exec(compile(text, path, "exec"), module.__dict__)
    return module


def median_step(step, steps):
    """Median seconds of a step, after some that are not counted."""
    seconds = []
    for i in range(steps + 8):
        torch.cuda.synchronize()
        start = time.perf_counter()
        step()
        torch.cuda.synchronize()
        if i >= 8:
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def measure_ours(arguments, pack, config, batch, cached):
    model = tpac.torch.T6(config, pack).cuda().bfloat16().eval().requires_grad_(False)
    results = {}
    for mode in MODES:
        torch._dynamo.reset()
        run = torch.compile(model, fullgraph=True, mode="reduce-overhead") if mode == "graphs" else None
        requests = tpac.torch.Batch(model, batch, cached + arguments.steps + 16)
        generator = torch.Generator().manual_seed(1)
        prompt = torch.randint(config["vocab_size"], (batch, cached), generator=generator)
        for first in range(0, cached, 512):
            requests.run(prompt[:, first:first + 512].tolist())
        results[mode] = median_step(lambda: requests.run([[7]] * batch, run), arguments.steps)
    return results


def measure_authors(arguments, authors, config, variant, batch, cached):
    parameters = authors.ModelArgs(dim=config["n_embd"], n_layers=config["n_layer"], n_heads=config["n_head"],
                                   vocab_size=config["vocab_size"], max_batch_size=batch,
                                   max_seq_len=cached + arguments.steps + 16, head_dim=config["head_dim"],
                                   q_rank=variant["q"]["rank"], rank=variant["k"]["rank"])
    model = authors.T6Model(parameters)
    # Its table of rotations has dim / n_heads features; the heads of T6 have head_dim.
    model.freqs_cis = authors.precompute_freqs_cis(config["head_dim"], parameters.max_seq_len * 2, parameters.rope_theta)
    model = model.cuda().bfloat16().eval()
    position = 0
    generator = torch.Generator().manual_seed(1)
    prompt = torch.randint(config["vocab_size"], (batch, cached), generator=generator).cuda()
    for first in range(0, cached, 512):
        model(prompt[:, first:first + 512], position)
        position += 512
    token = torch.full((batch, 1), 7, device="cuda")

    def step():
        nonlocal position
        model(token, position)
        position += 1

    return median_step(step, arguments.steps)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", required=True, help="of a T6 variant, built for this GPU")
    parser.add_argument("--authors", help="model/T6_infer.py of the authors' repository")
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--width", type=int, default=1024, help="of the residual stream")
    parser.add_argument("--shape", action="append", help="BATCHxCACHED; default: 1x4096 and 16x4096")
    parser.add_argument("--steps", type=int, default=48)
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()
    pack = tpac.open(arguments.pack, device="cuda")
    heads, features = pack.phases["decode"].tensors["out"].shape[1:]
    config = {"vocab_size": 50304, "n_embd": arguments.width, "n_layer": arguments.layers, "n_head": heads,
              "head_dim": features}
    rows = []
    print(f"{'requests':>8}  {'cached':>6}  {'eager':>8}  {'graphs':>8}  {'authors':>8}  tokens/s")
    for shape in arguments.shape or ["1x4096", "16x4096"]:
        batch, cached = map(int, shape.split("x"))
        seconds = measure_ours(arguments, pack, config, batch, cached)
        if arguments.authors:
            seconds["authors"] = measure_authors(arguments, read_authors(arguments.authors), config, pack.variant, batch,
                                                 cached)
        rows.append({"requests": batch, "cached": cached, "seconds_per_step": seconds,
                     "tokens_per_second": {name: batch / value for name, value in seconds.items()}})
        cells = [f"{batch / seconds[name]:8.0f}" if name in seconds else f"{'-':>8}"
                 for name in (*MODES, "authors")]
        print(f"{batch:>8}  {cached:>6}  {'  '.join(cells)}", flush=True)
    with open(arguments.out, "w") as file:
        json.dump({"device": torch.cuda.get_device_name(), "torch": torch.__version__, "model": config,
                   "pack": pack.name, "target": pack.target, "rows": rows}, file, indent=1)


if __name__ == "__main__":
    main()
