# SPDX-License-Identifier: Apache-2.0
"""Packs opened, asked and called with NumPy arrays, against float64."""
import io
import sys
import tarfile
import threading
import time

import numpy as np
import pytest

import tpac
from conftest import MINI
from reference import HEADS, Q_RANK, RANK, SIZE, Requests, assert_close, int32


@pytest.fixture(scope="module")
def requests():
    return Requests(lengths=[70, 3, 33], queries=[2, 1, 4])


@pytest.fixture(scope="module")
def cache(mini, requests):
    cache = mini.new_cache(batch=3, capacity=96)
    mini.append(**requests.append_arguments(), **cache)
    return cache


def test_says_what_it_computes(mini):
    assert mini.name == "t6_mini_f32"
    assert mini.target == "host" and mini.device == "cpu"
    assert mini.variant["heads"] == HEADS
    assert (mini.page_size, mini.value_block, mini.cache_bytes_per_token) == (0, 0, 1200)
    assert set(mini.phases) == {"append", "decode", "prefill", "merge"}
    tensor = mini.phases["decode"].tensors["token_start"]
    assert (tensor.access, tensor.type, tensor.shape) == ("in", "i32", ("batch + 1",))
    assert tensor.extents({"batch": 3}) == (4,)
    assert {name: value.shape for name, value in mini.new_cache(batch=2, capacity=8).items()} == {
        "k_head_cache": (2, 8, RANK, HEADS), "k_token_cache": (2, 8, RANK, SIZE),
        "v_head_cache": (2, 8, RANK, HEADS), "v_token_cache": (2, 8, RANK, SIZE)}


@pytest.mark.parametrize("phase", ["decode", "prefill"])
def test_attention_is_that_of_float64(mini, cache, requests, phase):
    out, lse = getattr(mini, phase)(**requests.query_arguments(), **cache)
    assert out.dtype == lse.dtype == np.float32
    assert_close((out, lse), requests.expected())


def test_results_go_where_the_caller_says(mini, cache, requests):
    out, lse = np.full((7, HEADS, SIZE), np.nan, np.float32), np.full((7, HEADS), np.nan, np.float32)
    found = mini.decode(**requests.query_arguments(), **cache, out=out, lse=lse)
    assert found[0] is out and found[1] is lse
    assert_close((out, lse), requests.expected())


def test_any_strides(mini, requests):
    """Inputs in reversed order of dimensions, caches and results as parts of larger arrays: nothing is copied."""
    transposed = lambda arrays: {name: value if value.ndim == 1 else np.ascontiguousarray(value.T).T
                                 for name, value in arrays.items()}
    cache = {name: np.full((3, 2, 96, 3, value.shape[3]), np.nan, np.float32)[:, 1, :, :RANK]
             for name, value in mini.new_cache(batch=3, capacity=96).items()}
    mini.append(**transposed(requests.append_arguments()), **cache)
    out = np.full((7, SIZE, HEADS), np.nan, np.float32).transpose(0, 2, 1)
    lse = np.full((14, HEADS), np.nan, np.float32)
    mini.decode(**transposed(requests.query_arguments()), **cache, out=out, lse=lse[::2])
    assert_close((out, lse[::2]), requests.expected())
    assert np.isnan(lse[1::2]).all()


def test_inputs_may_be_read_only(mini, cache, requests):
    arguments = requests.query_arguments() | {name: value.view() for name, value in cache.items()}
    for value in arguments.values():
        value.flags.writeable = False
    assert_close(mini.decode(**arguments), requests.expected())


def test_sources_of_packs_are_equal(mini, mini_path, cache, requests, tmp_path):
    expected = mini.decode(**requests.query_arguments(), **cache)
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w", format=tarfile.GNU_FORMAT) as archive:
        archive.add(mini_path, ".")
    file = tmp_path / "mini.tar"
    file.write_bytes(memory.getvalue())
    for source in (mini_path, str(mini_path), file, memory.getvalue()):
        found = tpac.open(source).decode(**requests.query_arguments(), **cache)
        assert all(np.array_equal(a, b) for a, b in zip(found, expected))


def test_threads_change_no_bit(mini, mini_path, cache, requests):
    expected = mini.prefill(**requests.query_arguments(), **cache)
    shared = tpac.ThreadPool(3, spin_microseconds=tpac.SPIN_NEVER)
    assert shared.threads == 3
    assert tpac.open(mini_path, threads=1).thread_pool is None
    assert tpac.open(mini_path).thread_pool is tpac.default_thread_pool()
    for threads in (None, 1, 2, shared):
        found = tpac.open(mini_path, threads=threads).prefill(**requests.query_arguments(), **cache)
        assert all(np.array_equal(a, b) for a, b in zip(found, expected))


def aligned_bytes(size):
    memory = np.empty(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start:start + size]


def test_workspaces(mini):
    """Long caches are split where there is a workspace: the caller's, or by default one of the pack's."""
    capacity = 20000
    requests = Requests(lengths=[capacity - 5], queries=[1])
    cache = mini.new_cache(batch=1, capacity=capacity)
    mini.append(**requests.append_arguments(), **cache)
    size = mini.workspace_size("decode", tokens=1, batch=1, capacity=capacity)
    assert size > 0 and mini.workspace_size("decode", tokens=1, batch=1, capacity=64) == 0
    call = lambda workspace: mini.decode(**requests.query_arguments(), **cache, workspace=workspace)
    own, cached, unsplit = call(aligned_bytes(size)), call(True), call(False)
    assert all(np.array_equal(a, b) for a, b in zip(own, cached))
    for found in (own, unsplit):
        assert_close(found, requests.expected(), 2e-5)
    with pytest.raises(tpac.InvalidArgument, match="workspace"):
        call(aligned_bytes(size)[:-64])
    with pytest.raises(tpac.InvalidArgument, match="workspace.* is not contiguous"):
        call(np.empty(4 * size, np.uint8)[::2])


def test_merge_joins_two_parts(mini, requests):
    """Two halves of a cache as requests of their own; their union as another. Nothing is causal for a single query."""
    length, factors, queries = 40, Requests([40], [1]).factors[0], Requests([40], [1]).queries[0]
    position = int32([length - 1])
    results = []
    for begin, end in ((0, 15), (15, 40), (0, 40)):
        cache = mini.new_cache(batch=1, capacity=64)
        mini.append(**{name: value[begin:end] for name, value in factors.items()},
                    positions=np.arange(begin, end, dtype=np.int32), token_start=int32([0, end - begin]),
                    lengths=int32([0]), **cache)
        results.append(mini.decode(**queries, positions=position, token_start=int32([0, 1]),
                                   lengths=int32([end - begin]), **cache))
    assert_close(mini.merge(*results[0], *results[1]), results[2])


def test_many_threads_call_one_pack(mini, cache, requests):
    expected = mini.decode(**requests.query_arguments(), **cache)
    failures = []

    def work():
        for _ in range(50):
            found = mini.decode(**requests.query_arguments(), **cache)
            if not all(np.array_equal(a, b) for a, b in zip(found, expected)):
                failures.append(found)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_the_gil_is_released(mini, cache, requests):
    """A thread that waits for the GIL runs during a call, though the interpreter never takes it from the caller."""
    arguments = requests.query_arguments() | cache
    ready, ran = threading.Event(), []
    thread = threading.Thread(target=lambda: (ready.wait(), ran.append(True)))
    thread.start()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    try:
        ready.set()
        deadline = time.monotonic() + 20
        while not ran and time.monotonic() < deadline:
            mini.prefill(**arguments)
        assert ran
    finally:
        sys.setswitchinterval(interval)
        thread.join()


def bits(values):
    """bf16 of float32 numbers, rounded to the nearest."""
    words = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((words + 0x7FFF + (words >> 16 & 1)) >> 16).astype(np.uint16)


def test_bf16_as_bits(build_pack, requests):
    pack = tpac.open(build_pack("configs/t6-mini.json"))
    as_bits = lambda arrays: {name: bits(v) if v.dtype == np.float32 else v for name, v in arrays.items()}
    cache = pack.new_cache(batch=3, capacity=96)
    assert pack.value_block > 0 and cache["v_token_cache"].shape[-1] == pack.value_block
    pack.append(**as_bits(requests.append_arguments()), **cache)
    out, lse = pack.decode(**as_bits(requests.query_arguments()), **cache)
    assert out.dtype == np.uint16
    values = (out.astype(np.uint32) << 16).view(np.float32)
    assert_close((values, lse), requests.expected(), 3e-2)


def test_learned_factors_bound_beforehand(mini, build_pack, cache, requests):
    learned = {"rank": Q_RANK, "head": {"source": "learned"}, "token": [{"source": "contextual", "size": SIZE}]}
    pack = tpac.open(build_pack(MINI, name="learned", q=learned))
    query = requests.query_arguments()
    tokens = len(query.pop("q_head"))
    factors = np.random.default_rng(2).standard_normal((2, Q_RANK, HEADS)).astype(np.float32)
    layers = [pack.bind(q_head=factor) for factor in factors]
    for layer, factor in zip(layers, factors):
        assert "q_head" not in layer.phases["decode"].tensors and "q_head" in pack.phases["decode"].tensors
        out, lse = layer.decode(**query, **cache)
        own, _ = pack.decode(q_head=factor, **query, **cache)
        assert np.array_equal(out, own)
        # The same factor for each token.
        assert_close((out, lse), mini.decode(q_head=np.repeat(factor[None], tokens, axis=0), **query, **cache))
    # A call's own goes first.
    assert np.array_equal(layers[0].prefill(q_head=factors[1], **query, **cache)[0],
                          layers[1].prefill(**query, **cache)[0])
    with pytest.raises(TypeError, match="decode: the tensor q_head is missing"):
        pack.decode(**query, **cache)
    with pytest.raises(TypeError, match="bind takes no tensor q_token; expected learned factors: q_head"):
        pack.bind(q_token=factors)
    with pytest.raises(TypeError, match="the pack has none"):
        mini.bind(q_head=factors[0])
    with pytest.raises(tpac.InvalidArgument, match="q_head"):
        pack.bind(q_head=factors).decode(**query, **cache)


@pytest.mark.thorough
def test_head_ranges_are_parts_of_the_whole(mini, build_pack, cache, requests):
    """Two shards, each with its slice of the head factors and the whole token factors."""
    out, lse = mini.prefill(**requests.query_arguments(), **cache)
    for begin, end in ((0, 6), (6, 11)):
        shard = tpac.open(build_pack(MINI, name=f"shard-{begin}", head_range=[begin, end]))
        part = lambda arrays: {name: value[..., begin:end] if name.endswith("_head") else value
                               for name, value in arrays.items()}
        own = shard.new_cache(batch=3, capacity=96)
        shard.append(**part(requests.append_arguments()), **own)
        for phase in (shard.prefill, shard.decode):
            assert_close(phase(**part(requests.query_arguments()), **own), (out[:, begin:end], lse[:, begin:end]))


@pytest.mark.parametrize("page_size", [pytest.param(1, marks=pytest.mark.thorough), 7,
                                       pytest.param(64, marks=pytest.mark.thorough)])
def test_pages(build_pack, requests, page_size):
    """Pages of a pool: a request, another that shares its first tokens and goes on by itself, one that came back."""
    pack = tpac.open(build_pack(MINI, "--page-size", str(page_size)))
    assert pack.page_size == page_size
    pool = tpac.PagePool(pages=-(-160 // page_size) + 8, page_size=page_size)
    cache = pack.new_cache(pages=pool.statistics.pages)
    for tensor in cache.values():
        tensor.fill(np.nan)
    whole, other = requests.factors[0], requests.factors[2]
    shared = 50

    def append(request, factors, columns=96 // page_size + 1):
        before = pool.length(request)
        count = len(factors["k_head"])
        copy = pool.append(request, count)
        if copy:
            for tensor in cache.values():
                tensor[copy.destination, :copy.tokens] = tensor[copy.source, :copy.tokens]
        if request % 2:
            starts, pages, _ = pool.page_list([request])
            where = {"block_table": pages, "page_starts": starts, "capacity": columns * page_size}
        else:
            where = {"block_table": pool.block_table([request], columns)[0]}
        pack.append(**factors, positions=np.arange(before, before + count, dtype=np.int32),
                    token_start=int32([0, count]), lengths=int32([before]), **where, **cache)

    gone = pool.add()
    append(gone, requests.factors[1])
    first = pool.add()
    append(first, whole)
    pool.remove(gone)
    second = pool.fork(first, shared)
    append(second, {name: value[:20] for name, value in other.items()})
    joined = {name: np.concatenate([value[:shared], other[name][:20]]) for name, value in whole.items()}
    table, lengths = pool.block_table([second, first])
    assert lengths.tolist() == [70, 70]

    pair = Requests([70, 70], [2, 2])
    pair.factors, pair.queries = [joined, whole], [requests.queries[0], requests.queries[0]]
    starts, pages, _ = pool.page_list([second, first])
    lists = {"block_table": pages, "page_starts": starts, "capacity": table.shape[1] * page_size}
    for phase in (pack.decode, pack.prefill):
        results = phase(**pair.query_arguments(), block_table=table, **cache)
        assert_close(results, pair.expected())
        listed = phase(**pair.query_arguments(), **lists, **cache)
        assert all(np.array_equal(found, expected) for found, expected in zip(listed, results))
    # Of any step: every other number of a longer array.
    sparse = np.full(2 * len(pages), -1, np.int32)
    sparse[::2] = pages
    assert np.array_equal(pack.decode(**pair.query_arguments(), **lists | {"block_table": sparse[::2]}, **cache)[0],
                          pack.decode(**pair.query_arguments(), block_table=table, **cache)[0])

    def refused(message, **changes):
        with pytest.raises(tpac.InvalidArgument, match=message):
            pack.decode(**pair.query_arguments(), **lists | changes, **cache)

    refused(r"decode: capacity is not given; expected, with page_starts, .* a multiple of", capacity=None)
    refused(r"decode: block_table has shape \[2, \d+\]; expected \[listed_pages\]", block_table=table)
    refused(r"decode: page_starts has shape \[2\]; expected \[batch \+ 1\] with batch = 2", page_starts=starts[:2])
    refused(r"page_starts decreases", page_starts=starts[::-1].copy())
    refused(r"page_starts\[batch\] exceeds listed_pages", block_table=pages[:-1])
    refused(r"do not fit its listed pages", page_starts=starts * 0)
    refused(r"lengths\[b\] is out of range; expected 0 .. capacity", capacity=table.shape[1] * page_size // 2)
