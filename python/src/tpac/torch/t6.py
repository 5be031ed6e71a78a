# SPDX-License-Identifier: Apache-2.0
"""T6 and its relatives (KV-only, GQA) for inference: parameters under the published checkpoints' names, attention and
its cache a pack's."""
from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from typing import Any, Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import PagePool
from ..arrays import torch_type
from ..errors import InvalidArgument
from ..pack import Pack, TensorInfo
from .ops import Kernels


@dataclass
class Step:
    """The new tokens of a call: int32 tensors as the pack's header names them."""

    positions: Tensor
    token_start: Tensor
    #: of the requests, before and after the new tokens
    before: Tensor
    after: Tensor
    #: None where caches are not paged
    block_table: Tensor | None
    #: whether a request has more than one new token
    is_prefill: bool


class _Layers(nn.Module):
    """A place for linear layers under their published names."""


@dataclass
class _Projection:
    """The layer that makes a tensor of the pack."""

    layer: nn.Linear
    #: of a token
    shape: tuple[int, ...]
    type: torch.dtype
    #: whether the layer's rows are head by head where the pack takes [rank, heads]
    is_head_major: bool

    def __call__(self, x: Tensor) -> Tensor:
        made = self.layer(x).to(self.type)
        if not self.is_head_major:
            return made.unflatten(-1, self.shape)
        # A view with other strides, which packs take as it is.
        return made.unflatten(-1, self.shape[::-1]).transpose(-1, -2)


class Attention(nn.Module):
    def __init__(self, width: int, kernels: Kernels):
        super().__init__()
        self.kernels = kernels
        phases = kernels.pack.phases
        infos = phases["append"].tensors | phases["decode"].tensors
        has_heads = {side: f"{side}_head" in infos for side in "qkv"}
        # Where no side has head factors (MHA, GQA) the three layers stand in the attention itself.
        within = _Layers() if any(has_heads.values()) else self
        self.projections: dict[str, _Projection] = {}
        for side in "qkv":
            token = infos.get(f"{side}_token")
            if token is None or token.shape[0] != "tokens":
                raise InvalidArgument(f"pack {kernels.pack.name}: {side}_token is not a factor of each token; expected "
                                      "the pack of a T6, KV-only or GQA model")
            self._add(within, f"W_B_{side}" if has_heads[side] else f"c_{side}", token, width)
            if has_heads[side]:
                self._add(within, f"W_A_{side}", infos[f"{side}_head"], width, is_head_major=True)
        if within is not self:
            self.c_qkv = within
        heads, features = phases["decode"].tensors["out"].shape[1:]
        self.c_proj = nn.Linear(heads * features, width, bias=False)

    def _add(self, within: nn.Module, name: str, info: TensorInfo, width: int, is_head_major: bool = False) -> None:
        shape = info.extents({"tokens": 0})[1:]
        layer = nn.Linear(width, math.prod(shape), bias=False)
        setattr(within, name, layer)
        self.projections[info.name] = _Projection(layer, shape, torch_type(info.type), is_head_major)

    def forward(self, x: Tensor, step: Step, cache: Mapping[str, Tensor]) -> Tensor:
        tensors = {name: project(x) for name, project in self.projections.items()}
        common = {"positions": step.positions, "token_start": step.token_start}
        if step.block_table is not None:
            common["block_table"] = step.block_table
        new = {name: tensor for name, tensor in tensors.items() if name[0] != "q"}
        queries = {name: tensor for name, tensor in tensors.items() if name[0] == "q"}
        self.kernels.append(cache, **new, **common, lengths=step.before)
        attend = self.kernels.prefill if step.is_prefill else self.kernels.decode
        out, _ = attend(cache, **queries, **common, lengths=step.after)
        return self.c_proj(out.flatten(-2).to(x.dtype))


class FeedForward(nn.Module):
    """SwiGLU."""

    def __init__(self, width: int):
        super().__init__()
        hidden = 8 * width // 3
        self.c_fc1 = nn.Linear(width, hidden, bias=False)
        self.c_fc2 = nn.Linear(width, hidden, bias=False)
        self.c_proj = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(F.silu(self.c_fc1(x)) * self.c_fc2(x))


class Block(nn.Module):
    def __init__(self, width: int, kernels: Kernels):
        super().__init__()
        self.attn = Attention(width, kernels)
        self.mlp = FeedForward(width)

    def forward(self, x: Tensor, step: Step, cache: Mapping[str, Tensor]) -> Tensor:
        x = x + self.attn(F.rms_norm(x, x.shape[-1:]), step, cache)
        return x + self.mlp(F.rms_norm(x, x.shape[-1:]))


class T6(nn.Module):
    """The transformer. config: `vocab_size`, `n_embd`, `n_layer`, `n_head`, as the checkpoints' JSON files have them.
    What Q, K and V are made of is what the pack takes."""

    def __init__(self, config: Mapping[str, Any], pack: Pack):
        super().__init__()
        heads = pack.phases["decode"].tensors["out"].shape[1]
        if config["n_head"] != heads:
            raise InvalidArgument(f"n_head is {config['n_head']}; expected {heads}, the heads of pack {pack.name}")
        self.kernels = Kernels(pack)
        width = config["n_embd"]
        blocks = nn.ModuleList(Block(width, self.kernels) for _ in range(config["n_layer"]))
        self.transformer = nn.ModuleDict({"h": blocks})
        #: also the embedding
        self.lm_head = nn.Linear(width, config["vocab_size"], bias=False)

    @classmethod
    def load(cls, model: str | os.PathLike[str], pack: Pack) -> T6:
        """The model of `model`.json and `model`.safetensors, in float32, for inference."""
        from safetensors.torch import load_file

        with open(f"{os.fspath(model)}.json") as file:
            loaded = cls(json.load(file), pack)
        loaded.load_state_dict(load_file(f"{os.fspath(model)}.safetensors"))
        return loaded.eval().requires_grad_(False)

    def forward(self, tokens: Tensor, step: Step, caches: Sequence[Mapping[str, Tensor]]) -> Tensor:
        """Logits [tokens, vocabulary] of the new tokens [tokens] of all requests, which enter the caches of all
        layers."""
        x = F.embedding(tokens, self.lm_head.weight)
        for block, cache in zip(self.transformer["h"], caches):
            x = block(x, step, cache)
        return self.lm_head(F.rms_norm(x, x.shape[-1:]))


class Batch:
    """Requests that go through a T6 together, each with a cache in every layer; on pages where the pack says so. The
    model must be on the pack's device."""

    def __init__(self, model: T6, requests: int, capacity: int):
        pack = model.kernels.pack
        unit = pack.page_size or pack.capacity_unit
        self._columns = -(-capacity // unit)
        layers = range(len(model.transformer["h"]))
        self.lengths = torch.zeros(requests, dtype=torch.int32)
        self._model, self._pool = model, None
        if pack.page_size:
            pages = requests * self._columns
            page_bytes = pack.page_size * pack.cache_bytes_per_token * len(layers)
            self._pool = PagePool(pages, pack.page_size, page_bytes=page_bytes)
            self._numbers = [self._pool.add() for _ in range(requests)]
            self.caches = [pack.new_cache(pages=pages, framework="torch") for _ in layers]
        else:
            self.caches = [pack.new_cache(batch=requests, capacity=self._columns * unit, framework="torch")
                           for _ in layers]
        for cache in self.caches:
            for tensor in cache.values():
                # CUDA graphs may write to what never moves.
                torch._dynamo.mark_static_address(tensor)

    @torch.inference_mode()
    def run(self, tokens: Sequence[Sequence[int]], model: Callable[..., Tensor] | None = None) -> Tensor:
        """Logits [all new tokens, vocabulary] on the model's device. tokens: of each request. model: in place of the batch's own, such as the
        same compiled."""
        device = self._model.lm_head.weight.device
        counts = torch.tensor([len(new) for new in tokens], dtype=torch.int32)
        after = self.lengths + counts
        positions = [torch.arange(b, a, dtype=torch.int32) for b, a in zip(self.lengths.tolist(), after.tolist())]
        start = torch.zeros(len(tokens) + 1, dtype=torch.int32)
        start[1:] = torch.cumsum(counts, 0)
        table = None
        if self._pool is not None:
            for number, count in zip(self._numbers, counts.tolist()):
                self._pool.append(number, count)
            table = torch.from_numpy(self._pool.block_table(self._numbers, self._columns)[0])
        addresses = [None if t is None else t.to(device)
                     for t in (torch.cat(positions), start, self.lengths, after, table)]
        step = Step(*addresses, bool((counts > 1).any()))
        flat = torch.tensor([token for new in tokens for token in new], device=device)
        self.lengths = after
        return (self._model if model is None else model)(flat, step, self.caches)
