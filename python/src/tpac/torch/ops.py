# SPDX-License-Identifier: Apache-2.0
"""The phases of packs as operators: registered, with their mutations and with shapes for tracing.

Where caches have pages, an operator takes a table as one of `inputs`; with `page_starts` [batch + 1] that input is a list
[listed_pages] of all requests' pages, and `capacity`, tokens, bounds what a request may have, as in `Pack`."""
from __future__ import annotations

import hashlib
import json
from typing import Any, Mapping, Optional, Sequence

import torch
from torch import Tensor
# Tensors as they are, derivatives or not (the operators have none, and say so when asked for them), on the present stream.
from torch.utils.dlpack import to_dlpack

from ..arrays import torch_type
from ..errors import InvalidArgument
from ..pack import Pack, Phase

_packs: dict[str, Pack] = {}


def register(pack: Pack) -> str:
    """The name by which the operators call `pack`, which lives from now on. It is made of what the pack says of itself,
    so that compiled graphs that are kept for later processes never meet another pack under it.

    InvalidArgument: the pack has tensors of `bind`, which the name does not tell; operators take them as inputs."""
    if bound := [name for tensors in pack._bound.values() for name in tensors]:
        raise InvalidArgument(f"register: pack has {bound[0]} bound; expected a pack without, since operators take "
                              f"learned factors as inputs")
    digest = hashlib.sha256(json.dumps(pack.manifest, sort_keys=True).encode()).hexdigest()
    handle = f"{pack.name}-{pack.device}-{digest[:16]}"
    _packs.setdefault(handle, pack)
    return handle


def _phase(handle: str, phase: str) -> tuple[Pack, Phase]:
    pack = _packs.get(handle)
    if pack is None:
        raise InvalidArgument(f"tpac::{phase}: pack is {handle!r}; expected what tpac.torch.register has returned")
    return pack, pack.phases[phase]


def _named(phase: Phase, inputs: Sequence[Tensor], caches: Sequence[Tensor], page_starts: Tensor | None = None,
           capacity: int | None = None) -> dict[str, Any]:
    names = phase.input_names, phase.cache_names
    for what, expected, found in (("inputs", names[0], inputs), ("caches", names[1], caches)):
        if len(expected) != len(found):
            raise InvalidArgument(f"tpac::{phase.name}: {what} has {len(found)} tensors; expected "
                                  f"{', '.join(expected)}")
    tensors = dict(zip(names[0] + names[1], [*inputs, *caches]))
    # Packs without pages refuse them by their names.
    for name, value in (("page_starts", page_starts), ("capacity", capacity)):
        if value is not None:
            tensors[name] = value
    return tensors


def _new_results(phase: Phase, inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    like = inputs[phase.input_names.index(phase.token_tensor)]
    out, lse = (like.new_empty(t.extents({"tokens": like.shape[0]}), dtype=torch_type(t.type)) for t in phase.outputs)
    return out, lse


@torch.library.custom_op("tpac::append", mutates_args=("caches",))
def append(pack: str, inputs: Sequence[Tensor], caches: Sequence[Tensor], page_starts: Optional[Tensor] = None,
           capacity: Optional[int] = None) -> None:
    """New tokens enter the caches. inputs, caches: the phase's tensors in the pack's order."""
    opened, phase = _phase(pack, "append")
    opened._run("append", _named(phase, inputs, caches, page_starts, capacity), False, None, to_dlpack)


@append.register_fake
def _(pack: str, inputs: Sequence[Tensor], caches: Sequence[Tensor], page_starts: Optional[Tensor] = None,
      capacity: Optional[int] = None) -> None:
    return None


def _attention(name: str) -> Any:
    def attend(pack: str, inputs: Sequence[Tensor], caches: Sequence[Tensor], page_starts: Optional[Tensor] = None,
               capacity: Optional[int] = None) -> tuple[Tensor, Tensor]:
        opened, phase = _phase(pack, name)
        return opened._attend(name, _named(phase, inputs, caches, page_starts, capacity), True, None, to_dlpack)

    def shapes(pack: str, inputs: Sequence[Tensor], caches: Sequence[Tensor], page_starts: Optional[Tensor] = None,
               capacity: Optional[int] = None) -> tuple[Tensor, Tensor]:
        return _new_results(_phase(pack, name)[1], inputs)

    # Annotations as objects: the operator's schema is made of them.
    attend.__annotations__ = {"pack": str, "inputs": Sequence[Tensor], "caches": Sequence[Tensor],
                              "page_starts": Optional[Tensor], "capacity": Optional[int],
                              "return": tuple[Tensor, Tensor]}
    operator = torch.library.custom_op(f"tpac::{name}", attend, mutates_args=())
    operator.register_fake(shapes)
    return operator


decode = _attention("decode")
prefill = _attention("prefill")


@torch.library.custom_op("tpac::merge", mutates_args=())
def merge(pack: str, inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """inputs: out0, lse0, out1, lse1."""
    opened, phase = _phase(pack, "merge")
    return opened._attend("merge", _named(phase, inputs, ()), False, None, to_dlpack)


@merge.register_fake
def _(pack: str, inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    return _new_results(_phase(pack, "merge")[1], inputs)


class Kernels:
    """Calls the operators of a pack with tensors by name. Caches are mappings of names to tensors. Lists of pages are
    given as to `Pack`: `page_starts` among the tensors, and `capacity`."""

    def __init__(self, pack: Pack):
        self.pack = pack
        self.handle = register(pack)
        self._inputs = {name: phase.input_names for name, phase in pack.phases.items()}
        self._caches = pack.phases["append"].cache_names

    def append(self, cache: Mapping[str, Tensor], *, capacity: int | None = None, **tensors: Tensor) -> None:
        self._call("append", cache, capacity, tensors)

    def decode(self, cache: Mapping[str, Tensor], *, capacity: int | None = None,
               **tensors: Tensor) -> tuple[Tensor, Tensor]:
        return self._call("decode", cache, capacity, tensors)

    def prefill(self, cache: Mapping[str, Tensor], *, capacity: int | None = None,
                **tensors: Tensor) -> tuple[Tensor, Tensor]:
        return self._call("prefill", cache, capacity, tensors)

    def merge(self, out0: Tensor, lse0: Tensor, out1: Tensor, lse1: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ops.tpac.merge(self.handle, [out0, lse0, out1, lse1])

    def _call(self, phase: str, cache: Mapping[str, Tensor], capacity: int | None, tensors: dict[str, Tensor]) -> Any:
        page_starts = tensors.pop("page_starts", None)
        return getattr(torch.ops.tpac, phase)(self.handle, self._ordered(phase, tensors),
                                              [cache[name] for name in self._caches], page_starts, capacity)

    def _ordered(self, phase: str, tensors: Mapping[str, Tensor]) -> list[Tensor]:
        names = self._inputs[phase]
        if missing := [name for name in names if name not in tensors]:
            raise TypeError(f"{phase}: the tensor {missing[0]} is missing")
        if unknown := [name for name in tensors if name not in names]:
            raise TypeError(f"{phase} takes no tensor {unknown[0]}")
        return [tensors[name] for name in names]
