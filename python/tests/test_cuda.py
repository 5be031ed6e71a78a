# SPDX-License-Identifier: Apache-2.0
"""Packs on an NVIDIA GPU through PyTorch: against float64, on streams, in graphs, compiled; models against recordings.

Where the machine has no compiler of tpac, TPAC_PACKS names a folder with packs NAME-PAGE (t6-mini-0, t6-mini-16, ...)."""
import os
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: ./dev python --torch")
if not torch.cuda.is_available():
    pytest.skip("no GPU", allow_module_level=True)

import tpac.torch  # noqa: E402
from reference import HEADS, RANK, SIZE, Requests, assert_close  # noqa: E402
from test_torch import assert_recorded, follow, recorded  # noqa: E402, F401

#: MATH.md's limit for bf16
TOLERANCE = 1e-2


@pytest.fixture(scope="module")
def cuda_pack(request):
    opened = {}

    def open_pack(name, page_size=0):
        if (name, page_size) not in opened:
            if folder := os.environ.get("TPAC_PACKS"):
                path = Path(folder) / f"{name}-{page_size}"
            else:
                major, minor = torch.cuda.get_device_capability()
                target = f"sm_{major}{minor}" + ("a" if major >= 9 and major != 12 else "")
                path = request.getfixturevalue("build_pack")(f"configs/{name}.json", "--target", target, "--page-size",
                                                             str(page_size))
            opened[name, page_size] = tpac.open(path, device="cuda")
        return opened[name, page_size]

    return open_pack


def on_gpu(arguments):
    """Factors in bf16, addresses as they are."""
    tensors = {name: torch.from_numpy(value) for name, value in arguments.items()}
    return {name: (t.bfloat16() if t.is_floating_point() else t).cuda() for name, t in tensors.items()}


def rounded(requests):
    """The requests with the factors that the kernels get."""
    for factors in requests.factors + requests.queries:
        for name, value in factors.items():
            factors[name] = torch.from_numpy(value).bfloat16().float().numpy()
    return requests


@pytest.fixture
def requests():
    return rounded(Requests(lengths=[70, 3, 33], queries=[2, 1, 4]))


def block_table(lengths, page_size, columns):
    """Pages in no order that kernels could guess."""
    count = len(lengths) * columns
    table = np.random.default_rng(5).permutation(count).reshape(len(lengths), columns)
    return torch.from_numpy(table.astype(np.int32)).cuda(), count


def page_list(table, lengths, page_size):
    """The pages of a table one after another."""
    counts = [-(-length // page_size) for length in lengths]
    pages = torch.cat([row[:count] for row, count in zip(table, counts)])
    starts = torch.tensor([0, *np.cumsum(counts)], dtype=torch.int32).cuda()
    return {"block_table": pages, "page_starts": starts, "capacity": table.shape[1] * page_size}


def prepared(pack, requests, tokens=96):
    """The cache with the requests' tokens, and what of a call is about it."""
    capacity = -(-tokens // pack.capacity_unit) * pack.capacity_unit
    where, sizes = {}, {"batch": len(requests.lengths), "capacity": capacity}
    if pack.page_size:
        where["block_table"], pages = block_table(requests.lengths, pack.page_size, capacity // pack.page_size)
        sizes = {"pages": pages}
    cache = pack.new_cache(**sizes)
    assert list(cache) == ["cache"] and cache["cache"].dtype == torch.uint8
    # What is not written is never read.
    cache["cache"].fill_(0xFF)
    common = cache | where
    pack.append(**on_gpu(requests.append_arguments()), **common)
    return common


def arrays(results):
    return [t.float().cpu().numpy() for t in results]


@pytest.mark.parametrize("page_size", [0, 16])
@pytest.mark.parametrize("phase", ["decode", "prefill"])
def test_attention_is_that_of_float64(cuda_pack, requests, phase, page_size):
    pack = cuda_pack("t6-mini", page_size)
    assert pack.device == "cuda:0" and pack.target.startswith("sm_")
    common = prepared(pack, requests)
    found = getattr(pack, phase)(**on_gpu(requests.query_arguments()), **common)
    assert found[0].dtype == torch.bfloat16 and found[1].dtype == torch.float32
    assert_close(arrays(found), requests.expected(), TOLERANCE)
    if page_size:
        common |= page_list(common["block_table"], requests.lengths, page_size)
        listed = getattr(pack, phase)(**on_gpu(requests.query_arguments()), **common)
        assert all(torch.equal(a, b) for a, b in zip(listed, found))


def test_any_strides(cuda_pack, requests):
    pack = cuda_pack("t6-mini")
    common = prepared(pack, requests)
    queries = on_gpu(requests.query_arguments())
    expected = pack.decode(**queries, **common)
    wide = torch.full((7, 12, 6 * SIZE), torch.nan, dtype=torch.bfloat16, device="cuda")
    wide[:, :6, :SIZE] = queries["q_token"]
    queries["q_token"] = wide[:, :6, :SIZE]
    found = pack.decode(**queries, **common)
    assert all(torch.equal(a, b) for a, b in zip(found, expected))


def test_streams(cuda_pack, requests):
    """Tensors are made on one stream while the kernels run on another."""
    pack = cuda_pack("t6-mini")
    common = prepared(pack, requests)
    expected = pack.decode(**on_gpu(requests.query_arguments()), **common)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        torch.cuda._sleep(20_000_000)
        queries = on_gpu(requests.query_arguments())
        found = pack.decode(**queries, **common)
    side.synchronize()
    assert all(torch.equal(a, b) for a, b in zip(found, expected))
    # The producer's stream is another one: the kernels wait for it.
    other = torch.cuda.Stream()
    out, lse = (torch.full_like(t, torch.nan) for t in expected)
    queries = on_gpu(requests.query_arguments())
    late = torch.zeros_like(queries["q_token"])
    other.wait_stream(torch.cuda.current_stream())
    torch.cuda._sleep(20_000_000)
    late.copy_(queries["q_token"])
    pack.decode(**queries | {"q_token": late}, **common, out=out, lse=lse, stream=other.cuda_stream)
    other.synchronize()
    assert torch.equal(out, expected[0]) and torch.equal(lse, expected[1])


def test_graphs(cuda_pack, requests):
    """A graph replayed with other lengths and queries gives what a call gives, bit for bit."""
    pack = cuda_pack("t6-mini", 16)
    common = prepared(pack, requests)
    queries = on_gpu(requests.query_arguments())
    pack.decode(**queries, **common)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = pack.decode(**queries, **common)
    for lengths in ([70, 3, 33], [64, 2, 17], [2, 1, 4]):
        queries["lengths"].copy_(torch.tensor(lengths, dtype=torch.int32))
        queries["q_head"].mul_(-0.5)
        graph.replay()
        eager = pack.decode(**queries, **common)
        assert all(torch.equal(a, b) for a, b in zip(captured, eager))


def test_merge(cuda_pack, requests):
    pack = cuda_pack("t6-mini")
    out, lse = pack.decode(**on_gpu(requests.query_arguments()), **prepared(pack, requests))
    joined = pack.merge(out, lse, torch.zeros_like(out), torch.full_like(lse, -torch.inf))
    assert torch.equal(joined[0], out) and torch.allclose(joined[1], lse)


@pytest.mark.parametrize("page_size", [0, 16])
def test_cached_tokens_move_in_and_out(cuda_pack, page_size):
    pack = cuda_pack("t6-mini", page_size)
    requests = rounded(Requests(lengths=[40, 7], queries=[1, 1]))
    common = prepared(pack, requests, tokens=48)
    lengths = torch.tensor(requests.lengths, dtype=torch.int32, device="cuda")
    make = lambda *shape: torch.full((2, 40, *shape), torch.nan, dtype=torch.bfloat16, device="cuda")
    plain = {"k_head": make(RANK, HEADS), "k_token": make(RANK, SIZE), "v_head": make(RANK, HEADS),
             "v_token": make(RANK, SIZE)}
    pack.run("export", plain | common | {"lengths": lengths})
    assert torch.isfinite(plain["v_token"][0]).all() and torch.isnan(plain["v_token"][1, 7:]).all()
    again = dict(common) | {"cache": torch.full_like(common["cache"], 0xFF)}
    pack.run("import", {name: t.nan_to_num() for name, t in plain.items()} | again | {"lengths": lengths})
    queries = on_gpu(requests.query_arguments())
    one, other = pack.decode(**queries, **common), pack.decode(**queries, **again)
    assert all(torch.equal(a, b) for a, b in zip(one, other))


def test_errors(cuda_pack, requests):
    pack = cuda_pack("t6-mini")
    common = prepared(pack, requests)
    queries = on_gpu(requests.query_arguments())
    with pytest.raises(tpac.InvalidArgument, match="decode: q_head is on the CPU; expected a tensor on CUDA device 0"):
        pack.decode(**queries | {"q_head": queries["q_head"].cpu()}, **common)
    with pytest.raises(tpac.InvalidArgument, match="q_head is of f32; expected bf16"):
        pack.decode(**queries | {"q_head": queries["q_head"].float()}, **common)
    with pytest.raises(tpac.InvalidArgument, match="cache is not contiguous; expected one piece of memory"):
        pack.decode(**queries, cache=torch.cat([common["cache"]] * 2, 2)[:, :, ::2])
    with pytest.raises(tpac.InvalidArgument, match=r"cache has shape \[3, \d+, 1\]; expected \[batch, capacity, "):
        pack.decode(**queries, cache=common["cache"][:, :, :1].contiguous())
    with pytest.raises(tpac.InvalidArgument, match="workspace"):
        pack.decode(**queries, **common, workspace=False)
    with pytest.raises(TypeError, match="framework is 'numpy'; expected 'torch' or 'cupy' on device cuda:0"):
        pack.new_cache(batch=1, capacity=32, framework="numpy")
    with pytest.raises(tpac.InvalidArgument, match="device"):
        tpac.open(b"", device="cuda:x")
    # Nothing of these has broken the context.
    assert_close(arrays(pack.decode(**queries, **common)), requests.expected(), TOLERANCE)


@pytest.mark.parametrize("compiled", [False, True])
def test_operators(cuda_pack, requests, compiled):
    kernels = tpac.torch.Kernels(cuda_pack("t6-mini"))

    def step(cache, new, queries):
        kernels.append(cache, **new)
        out, lse = kernels.decode(cache, **queries)
        again = kernels.prefill(cache, **queries)[0]
        return out, lse, (out.float() - again.float()).abs().max()

    run = torch.compile(step, fullgraph=True) if compiled else step
    cache = kernels.pack.new_cache(batch=3, capacity=2 * kernels.pack.capacity_unit)
    out, lse, difference = run(cache, on_gpu(requests.append_arguments()), on_gpu(requests.query_arguments()))
    assert_close(arrays((out, lse)), requests.expected(), TOLERANCE)
    assert difference < 0.1


@pytest.mark.parametrize("mode", ["eager", "compiled", "graphs"])
def test_operators_on_lists_of_pages(cuda_pack, requests, mode):
    """Lists give the bits of tables, also where a graph is replayed with other pages and lengths."""
    kernels = tpac.torch.Kernels(cuda_pack("t6-mini", 16))
    table = prepared(kernels.pack, requests)
    cache, queries = {"cache": table["cache"]}, on_gpu(requests.query_arguments())
    torch._dynamo.mark_static_address(cache["cache"])
    decode = lambda **tensors: kernels.decode(cache, **tensors)
    torch._dynamo.reset()
    run = {"eager": decode, "compiled": torch.compile(decode, fullgraph=True),
           "graphs": torch.compile(decode, fullgraph=True, mode="reduce-overhead")}[mode]
    for lengths in (requests.lengths, requests.lengths, [64, 2, 17], [2, 1, 4]):
        lists = page_list(table["block_table"], lengths, 16)
        # As many numbers in every step, so that steps share a graph.
        padded = torch.full((table["block_table"].numel(),), -1, dtype=torch.int32, device="cuda")
        padded[:len(lists["block_table"])] = lists["block_table"]
        now = queries | {"lengths": torch.tensor(lengths, dtype=torch.int32, device="cuda")}
        found = [t.clone() for t in run(**now, **lists | {"block_table": padded})]
        expected = kernels.decode(cache, **now, block_table=table["block_table"])
        assert all(torch.equal(a, b) for a, b in zip(found, expected))


@pytest.mark.parametrize("mode", ["eager", "compiled", "graphs"])
@pytest.mark.parametrize("page_size", [16, 64])
def test_models_reproduce_their_recordings(cuda_pack, recorded, page_size, mode):  # noqa: F811
    path, recording = recorded
    if mode != "eager" and page_size != 64:
        pytest.skip("pages of one size are enough for compiled models")
    model = tpac.torch.T6.load(path, cuda_pack(path.name, page_size)).cuda()
    torch._dynamo.reset()
    run = {"eager": None, "compiled": torch.compile(model, fullgraph=True),
           "graphs": torch.compile(model, fullgraph=True, mode="reduce-overhead")}[mode]
    assert_recorded(follow(model, recording, slice(None), run), recording, slice(None), 2e-2)
