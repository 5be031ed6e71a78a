# SPDX-License-Identifier: Apache-2.0
"""tpac.torch: operators under torch.compile, and models against their recordings."""
import os
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: ./dev python --torch")
pytest.importorskip("safetensors.torch", reason="safetensors is not installed: ./dev python --torch")

import tpac.torch  # noqa: E402
from conftest import MINI, ROOT  # noqa: E402
from reference import Requests, assert_close  # noqa: E402


def tensors_of(arguments):
    return {name: torch.from_numpy(value) for name, value in arguments.items()}


@pytest.fixture
def kernels(mini):
    return tpac.torch.Kernels(mini)


@pytest.fixture
def requests():
    return Requests(lengths=[20, 3], queries=[2, 1])


@pytest.mark.parametrize("compiled", [False, True])
def test_operators(kernels, requests, compiled):
    """Attention after an append in the same graph sees what was appended."""

    def step(cache, new, queries):
        kernels.append(cache, **new)
        out, lse = kernels.decode(cache, **queries)
        again = kernels.prefill(cache, **queries)[0]
        return out, lse, (out - again).abs().max()

    run = torch.compile(step, fullgraph=True) if compiled else step
    cache = kernels.pack.new_cache(batch=2, capacity=32, framework="torch")
    out, lse, difference = run(cache, tensors_of(requests.append_arguments()), tensors_of(requests.query_arguments()))
    assert_close((out.numpy(), lse.numpy()), requests.expected())
    assert difference < 1e-5
    joined = kernels.merge(out, lse, torch.zeros_like(out), torch.full_like(lse, -torch.inf))
    assert_close([t.numpy() for t in joined], requests.expected())


def test_operators_keep_their_promises(kernels, requests):
    """PyTorch's own checks: schemas say what is written, fake tensors have the shapes of real ones."""
    cache = list(kernels.pack.new_cache(batch=2, capacity=32, framework="torch").values())
    new, queries = tensors_of(requests.append_arguments()), tensors_of(requests.query_arguments())
    inputs = lambda phase, tensors: [tensors[name] for name in kernels._inputs[phase]]
    torch.library.opcheck(torch.ops.tpac.append, (kernels.handle, inputs("append", new), cache))
    for phase in ("decode", "prefill"):
        torch.library.opcheck(getattr(torch.ops.tpac, phase), (kernels.handle, inputs(phase, queries), cache))
    out, lse = torch.zeros(3, 11, 64), torch.zeros(3, 11)
    torch.library.opcheck(torch.ops.tpac.merge, (kernels.handle, [out, lse, out + 1, lse]))


@pytest.fixture
def paged(build_pack, requests):
    """Kernels on pages of 7 with the requests' tokens, a table of their pages and the same pages as a list."""
    kernels = tpac.torch.Kernels(tpac.open(build_pack(MINI, "--page-size", "7"), threads=2))
    pool = tpac.PagePool(pages=8, page_size=7)
    numbers = [pool.add() for _ in requests.lengths]
    for number, length in zip(numbers, requests.lengths):
        pool.append(number, length)
    starts, pages, _ = pool.page_list(numbers)
    table = {"block_table": torch.from_numpy(pool.block_table(numbers, 4)[0])}
    lists = {"block_table": torch.from_numpy(pages), "page_starts": torch.from_numpy(starts), "capacity": 28}
    cache = kernels.pack.new_cache(pages=8, framework="torch")
    for tensor in cache.values():
        tensor.fill_(torch.nan)
    return kernels, cache, table, lists


@pytest.mark.parametrize("compiled", [False, True])
def test_operators_on_lists_of_pages(paged, requests, compiled):
    """Lists give the bits of tables, and grow without another graph once it has met two lengths of them."""
    kernels, cache, table, lists = paged
    new, queries = tensors_of(requests.append_arguments()), tensors_of(requests.query_arguments())

    def step(cache, new, queries, lists):
        kernels.append(cache, **new, **lists)
        return *kernels.decode(cache, **queries, **lists), *kernels.prefill(cache, **queries, **lists)

    graphs = torch._dynamo.testing.CompileCounter()
    run = torch.compile(step, backend=graphs, fullgraph=True) if compiled else step
    found = run(cache, new, queries, lists)
    assert_close([t.numpy() for t in found[:2]], requests.expected())
    by_table = (*kernels.decode(cache, **queries, **table), *kernels.prefill(cache, **queries, **table))
    assert all(torch.equal(a, b) for a, b in zip(found, by_table))
    for unused in (1, 5, 9):
        longer = lists | {"block_table": torch.cat([lists["block_table"], torch.full((unused,), -1, dtype=torch.int32)])}
        assert all(torch.equal(a, b) for a, b in zip(run(cache, new, queries, longer), found))
    assert graphs.frame_count == 2 * compiled


def test_operators_on_lists_of_pages_keep_their_promises(paged, requests):
    kernels, cache, _, lists = paged
    new, queries = tensors_of(requests.append_arguments()), tensors_of(requests.query_arguments())
    for phase, tensors in (("append", new), ("decode", queries), ("prefill", queries)):
        # What opcheck compares bit by bit must not be NaN.
        caches = [torch.zeros_like(tensor) for tensor in cache.values()]
        inputs = [(tensors | lists)[name] for name in kernels._inputs[phase]]
        torch.library.opcheck(getattr(torch.ops.tpac, phase),
                              (kernels.handle, inputs, caches, lists["page_starts"], lists["capacity"]))


def test_errors_of_lists_of_pages(kernels, paged, requests):
    queries = tensors_of(requests.query_arguments())
    plain = kernels.pack.new_cache(batch=2, capacity=32, framework="torch")
    kernels_of_pages, cache, _, lists = paged
    with pytest.raises(tpac.InvalidArgument, match="decode: capacity is not given; expected, with page_starts, "):
        kernels_of_pages.decode(cache, **queries, **lists | {"capacity": None})
    with pytest.raises(tpac.InvalidArgument, match=r"page_starts has shape \[2\]; expected \[batch \+ 1\] with batch = 2"):
        kernels_of_pages.decode(cache, **queries, **lists | {"page_starts": lists["page_starts"][:2]})
    with pytest.raises(TypeError, match="page_starts"):
        kernels.decode(plain, **queries, page_starts=lists["page_starts"])


def test_errors(kernels, requests):
    cache = kernels.pack.new_cache(batch=2, capacity=32, framework="torch")
    queries = tensors_of(requests.query_arguments())
    with pytest.raises(TypeError, match="decode: the tensor q_token is missing"):
        kernels.decode(cache, **{name: value for name, value in queries.items() if name != "q_token"})
    with pytest.raises(tpac.InvalidArgument, match="q_head is of f64; expected f32"):
        kernels.decode(cache, **queries | {"q_head": queries["q_head"].double()})
    with pytest.raises(tpac.InvalidArgument, match="pack is 'nobody'; expected what tpac.torch.register has returned"):
        torch.ops.tpac.decode("nobody", [], [])
    with pytest.raises(tpac.InvalidArgument, match="caches has 1 tensors; expected k_head_cache, "):
        torch.ops.tpac.append(kernels.handle, [queries["positions"]] * 7, [queries["positions"]])


# The repository holds one model; a folder with more of them, of the same names, may be given.
MODELS = Path(os.environ.get("TPAC_MODELS", ROOT / "examples/t6/model"))


@pytest.fixture(scope="module", params=["t6-mini", "t6-mini-kvonly", "llama-mini-gqa"])
def recorded(request):
    from safetensors.numpy import load_file

    path = MODELS / request.param
    if not path.with_suffix(".json").exists():
        pytest.skip(f"{MODELS} has no {request.param}: TPAC_MODELS names a folder that has it")
    return path, load_file(f"{path}.reference.safetensors")


def follow(model, recording, prompts, run=None):
    """Logits of the recorded tokens, then which greedy tokens are the recorded ones; the recording is followed."""
    tokens, greedy = recording["tokens"][prompts], recording["greedy"][prompts]
    batch = tpac.torch.Batch(model, len(tokens), tokens.shape[1] + greedy.shape[1])
    # Cloned: a compiled model with CUDA graphs gives the same memory again.
    logits = batch.run(tokens.tolist(), run).reshape(len(tokens), tokens.shape[1], -1).clone()
    picked = [logits[:, -1].argmax(-1)]
    for step in range(greedy.shape[1] - 1):
        picked.append(batch.run(greedy[:, step:step + 1].tolist(), run).argmax(-1).clone())
    return logits.cpu().numpy(), torch.stack(picked, 1).cpu().numpy() == greedy


def assert_recorded(found, recording, prompts, tolerance=1e-4):
    logits, is_right = found
    expected = recording["logits" if "logits" in recording else "logits.last16"][prompts]
    norm = lambda rows: np.linalg.norm(rows, axis=(1, 2))
    assert (norm(logits[:, -expected.shape[1]:] - expected) / norm(expected)).max() <= tolerance
    assert is_right.all()


@pytest.mark.parametrize("page_size", [pytest.param(0, marks=pytest.mark.thorough), 7])
def test_models_reproduce_their_recordings(build_pack, recorded, page_size):
    path, recording = recorded
    pack = tpac.open(build_pack(f"examples/t6/variants/{path.name}-f32.json", "--page-size", str(page_size)))
    model = tpac.torch.T6.load(path, pack)
    for prompts in (slice(0, 1), slice(None)):
        assert_recorded(follow(model, recording, prompts), recording, prompts)


@pytest.mark.thorough
def test_models_compiled(build_pack, recorded):
    """One graph without breaks: for prompts, and for a token of each request."""
    path, recording = recorded
    model = tpac.torch.T6.load(path, tpac.open(build_pack(f"examples/t6/variants/{path.name}-f32.json")))
    compiled = torch.compile(model, fullgraph=True)
    assert_recorded(follow(model, recording, slice(None), compiled), recording, slice(None))


def test_models_that_do_not_fit(mini):
    with pytest.raises(tpac.InvalidArgument, match="n_head is 12; expected 11, the heads of pack t6_mini_f32"):
        tpac.torch.T6({"n_head": 12, "n_embd": 256, "n_layer": 1, "vocab_size": 256}, mini)


def test_packs_that_are_bound_are_refused(build_pack):
    learned = {"rank": 6, "head": {"source": "learned"}, "token": [{"source": "contextual", "size": 64}]}
    pack = tpac.open(build_pack(MINI, name="learned", q=learned))
    with pytest.raises(tpac.InvalidArgument, match="pack has q_head bound"):
        tpac.torch.register(pack.bind(q_head=torch.zeros(6, 11)))
