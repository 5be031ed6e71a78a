# SPDX-License-Identifier: Apache-2.0
"""The attention of t6-mini in float64 by the plainest means, and calls of packs to compare with it."""
import numpy as np

HEADS, Q_RANK, RANK, SIZE = 11, 6, 2, 64


def rotated(x, positions):
    """RoPE of x [tokens, ..., SIZE]: half layout, direction -1, base 10000."""
    half = SIZE // 2
    angles = positions[:, None, None] * 10000.0 ** (-np.arange(half) / half)
    cos, sin = np.cos(angles), np.sin(angles)
    first, second = x[..., :half], x[..., half:]
    return np.concatenate([first * cos + second * sin, second * cos - first * sin], axis=-1)


def attention(factors, queries):
    """One request. factors: of all its tokens; queries: of its last n. Returns out [n, HEADS, SIZE], lse [n, HEADS]."""
    exact = {name: np.asarray(value, dtype=np.float64) for name, value in {**factors, **queries}.items()}
    total, asked = len(exact["k_head"]), len(exact["q_head"])
    k = np.einsum("trh,trd->thd", exact["k_head"], rotated(exact["k_token"], np.arange(total))) / RANK
    v = np.einsum("trh,trd->thd", exact["v_head"], exact["v_token"]) / RANK
    q = np.einsum("trh,trd->thd", exact["q_head"], rotated(exact["q_token"], np.arange(total - asked, total))) / Q_RANK
    logits = np.einsum("nhd,thd->hnt", q, k) / np.sqrt(SIZE)
    hidden = np.arange(total)[None, :] > np.arange(total - asked, total)[:, None]
    logits[:, hidden] = -np.inf
    lse = np.log(np.exp(logits).sum(axis=-1))
    out = np.einsum("hnt,thd->nhd", np.exp(logits - lse[..., None]), v)
    return out, lse.T


def random_factors(generator, tokens, kind=np.float32):
    make = lambda *shape: generator.standard_normal((tokens, *shape)).astype(kind)
    return {"k_head": make(RANK, HEADS), "k_token": make(RANK, SIZE), "v_head": make(RANK, HEADS),
            "v_token": make(RANK, SIZE)}


def random_queries(generator, tokens, kind=np.float32):
    make = lambda *shape: generator.standard_normal((tokens, *shape)).astype(kind)
    return {"q_head": make(Q_RANK, HEADS), "q_token": make(Q_RANK, SIZE)}


def int32(values):
    return np.asarray(values, dtype=np.int32)


def addresses(before, counts):
    """positions, token_start and lengths of new tokens: `counts` for requests that have `before`."""
    positions = np.concatenate([np.arange(b, b + n) for b, n in zip(before, counts)])
    return {"positions": int32(positions), "token_start": int32(np.cumsum([0, *counts])), "lengths": int32(before)}


class Requests:
    """Requests of given lengths with random factors, appended to caches of a pack, and queries at their ends."""

    def __init__(self, lengths, queries, seed=1):
        generator = np.random.default_rng(seed)
        self.lengths, self.counts = lengths, queries
        self.factors = [random_factors(generator, n) for n in lengths]
        self.queries = [random_queries(generator, n) for n in queries]

    def append_arguments(self):
        joined = {name: np.concatenate([f[name] for f in self.factors]) for name in self.factors[0]}
        return joined | addresses([0] * len(self.lengths), self.lengths)

    def query_arguments(self):
        joined = {name: np.concatenate([q[name] for q in self.queries]) for name in self.queries[0]}
        before = [length - n for length, n in zip(self.lengths, self.counts)]
        return joined | addresses(before, self.counts) | {"lengths": int32(self.lengths)}

    def expected(self):
        results = [attention(f, q) for f, q in zip(self.factors, self.queries)]
        return tuple(np.concatenate(parts) for parts in zip(*results))


def assert_close(found, expected, tolerance=1e-5):
    """Relative error of all rows together; for lse, absolute."""
    (out, lse), (exact_out, exact_lse) = found, expected
    assert np.linalg.norm(out - exact_out) <= tolerance * np.linalg.norm(exact_out)
    assert np.abs(lse - exact_lse).max() <= tolerance * max(1, np.abs(exact_lse).max())
