# SPDX-License-Identifier: Apache-2.0
"""Kernel packs: opened, asked what they compute, called."""
from __future__ import annotations

import copy
import functools
import json
import os
import re
from dataclasses import dataclass, replace
from typing import Any, Mapping

from . import _native, arrays
from .errors import InvalidArgument


@dataclass(frozen=True)
class TensorInfo:
    """A tensor that a phase takes."""

    name: str
    #: "in", "inout" or "out"
    access: str
    #: "f64", "f32", "bf16", "f16", "f8E4M3FN", "i8", "u8" or "i32"
    type: str
    #: per dimension a number, or how it follows from the sizes of a call: "tokens", "batch + 1", "capacity / 32"
    shape: tuple[int | str, ...]
    #: a call may do without it
    is_optional: bool = False

    def extents(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """The shape under sizes of a call; KeyError for one that is needed and not given."""
        return tuple(_extent(dimension, sizes) for dimension in self.shape)


@dataclass(frozen=True)
class Phase:
    """A function of a pack: append, decode, prefill, merge; on GPUs import and export, too."""

    name: str
    #: "tokens", "batch", "capacity", "pages", "listed_pages"
    sizes: tuple[str, ...]
    #: by name, in the pack's order
    tensors: Mapping[str, TensorInfo]

    @functools.cached_property
    def outputs(self) -> tuple[TensorInfo, ...]:
        return tuple(tensor for tensor in self.tensors.values() if tensor.access == "out")

    @functools.cached_property
    def input_names(self) -> list[str]:
        """What every call reads but the cache, in the pack's order."""
        return [t.name for t in self.tensors.values()
                if t.access == "in" and not t.is_optional and not t.name.endswith("cache")]

    @functools.cached_property
    def cache_names(self) -> list[str]:
        return [name for name in self.tensors if name.endswith("cache")]

    @functools.cached_property
    def token_tensor(self) -> str:
        """A tensor to read the number of tokens from, and the framework of results."""
        return next(t.name for t in self.tensors.values() if t.access == "in" and t.shape[0] == "tokens")


def _extent(dimension: int | str, sizes: Mapping[str, int]) -> int:
    if isinstance(dimension, int):
        return dimension
    name, *rest = dimension.split()
    value = sizes[name]
    for sign, number in zip(rest[::2], rest[1::2]):
        if sign == "/":
            if value % int(number):
                raise InvalidArgument(f"{name} is {value}; expected a multiple of {number}")
            value //= int(number)
        else:
            value += int(number) if sign == "+" else -int(number)
    return value


def _read_phase(description: Mapping[str, Any], layout: _native.CacheLayout) -> Phase:
    tensors = {}
    for t in description["tensors"]:
        if layout.is_one_piece and t["name"].endswith("_cache"):
            places = ("pages", layout.page_size) if layout.page_size else ("batch", "capacity")
            tensors["cache"] = TensorInfo("cache", t["access"], "u8", (*places, layout.token_bytes))
            continue
        shape = tuple(int(dimension) if dimension.isdigit() else dimension for dimension in t["shape"])
        tensors[t["name"]] = TensorInfo(t["name"], t["access"], t["type"], shape, t.get("optional", False))
    return Phase(description["name"], tuple(description["sizes"]), tensors)


@functools.lru_cache(maxsize=None)
def default_thread_pool() -> _native.ThreadPool:
    """The pool of packs that were opened without one: a thread for each CPU that this process may use."""
    return _native.ThreadPool()


class Pack:
    """A kernel pack with its kernels loaded for a device. Made by `open`. Any number of threads may call it.

    Phases take tensors by the names of the pack's header, of any framework that speaks DLPack (NumPy, PyTorch, CuPy;
    JAX for what is only read), with any strides that the header allows. Nothing is copied; bf16, f16 and fp8 tensors
    may also be given as their bits (uint16, uint8). Caches are written in place. The sizes of a call follow from the
    shapes. While kernels run, the GIL is released.

    Where caches have pages, `block_table` is a table [batch, columns], or with `page_starts` (FlashInfer's indptr) a list
    of all requests' pages (its indices), of one dimension. A list does not say how many tokens a request may have:
    `capacity`, a multiple of the page size, does, as a keyword argument.

    On a GPU calls return when their kernels are launched, on the stream that the framework of the queries works on at
    present, or on `stream`, a CUstream as a number: what is written on other streams is waited for there, and calls may
    be captured in CUDA graphs. All cached tensors of a layer are one, "cache" (uint8), whose inside is the pack's.

    TypeError: a tensor is missing, or there is no such tensor. InvalidArgument: a tensor is refused; the message names
    it, what was found and what is expected, and nothing was written.
    """

    def __init__(self, kernels: _native.Kernels, device: str):
        self._kernels = kernels
        self.device = device
        self.name: str = kernels.name
        #: whose code runs, such as "x86-64-v4"
        self.target: str = kernels.target
        #: what the pack says of itself, parsed
        self.manifest: dict[str, Any] = json.loads(kernels.manifest)
        self._layout = kernels.cache_layout
        described = self.manifest["phases"] + (self.manifest["gpu"]["moves"] if self.is_gpu else [])
        self.phases: dict[str, Phase] = {p["name"]: _read_phase(p, self._layout) for p in described}
        #: by phase, the tensors of `bind`
        self._bound: dict[str, dict[str, Any]] = {name: {} for name in self.phases}

    def __repr__(self) -> str:
        return f"<tpac.Pack {self.name} for {self.target}>"

    @property
    def is_gpu(self) -> bool:
        return self.device != "cpu"

    @property
    def variant(self) -> dict[str, Any]:
        """The variant that it computes (docs/variant.md), defaults spelt out."""
        return self.manifest["variant"]

    @property
    def page_size(self) -> int:
        """Tokens of a page of its caches; 0: caches are not paged."""
        return self.manifest["page_size"]

    @property
    def value_block(self) -> int:
        """Tokens per block of V's token caches; 0: stored token by token."""
        return self.manifest["value_block"]

    @property
    def capacity_unit(self) -> int:
        """Capacities are multiples of this."""
        return self._layout.capacity_unit

    @property
    def cache_bytes_per_token(self) -> int:
        """As the device keeps it."""
        return self._layout.token_bytes

    @property
    def thread_pool(self) -> _native.ThreadPool | None:
        return self._kernels.pool

    def new_cache(self, *, batch: int | None = None, capacity: int | None = None, pages: int | None = None,
                  framework: str | None = None) -> dict[str, Any]:
        """Cache tensors by name on the pack's device, zeros: for `batch` requests of `capacity` tokens each, or of `pages`
        pages.

        framework: "numpy" or "torch", on GPUs "torch" or "cupy"; None: the first of them.
        """
        frameworks = ("torch", "cupy") if self.is_gpu else ("numpy", "torch")
        framework = framework or frameworks[0]
        if framework not in frameworks:
            raise TypeError(f"new_cache: framework is {framework!r}; expected {' or '.join(map(repr, frameworks))} on "
                            f"device {self.device}")
        sizes = {"batch": batch, "capacity": capacity, "pages": pages}
        given = {name: value for name, value in sizes.items() if value is not None}
        wanted = {"pages"} if self.page_size else {"batch", "capacity"}
        if given.keys() != wanted:
            raise TypeError(f"new_cache: found {', '.join(given) or 'no sizes'}; expected "
                            f"{' and '.join(sorted(wanted))}, as the pack's page size is {self.page_size}")
        return {t.name: arrays.zeros(framework, t.extents(given), t.type, self.device)
                for t in self.phases["append"].tensors.values() if t.name.endswith("cache")}

    def bind(self, **tensors: Any) -> Pack:
        """This pack with tensors that it knows beforehand: learned factors, which are the same from call to call. Its
        phases take the others alone; a model has one such pack for each layer, and all share the kernels. The tensors
        are kept, not copied; they are checked when a phase is called.

        TypeError: one is none of the pack's, or its shape follows from a call's sizes.
        """
        constant = {t.name for phase in self.phases.values() for t in phase.tensors.values()
                    if all(isinstance(dimension, int) for dimension in t.shape)}
        for name in tensors:
            if name not in constant:
                raise TypeError(f"bind takes no tensor {name}; expected learned factors: "
                                f"{', '.join(sorted(constant)) or 'the pack has none'}")
        bound = copy.copy(self)
        bound._bound = {name: self._bound[name] | {key: t for key, t in tensors.items() if key in phase.tensors}
                        for name, phase in self.phases.items()}
        bound.phases = {name: replace(phase, tensors={key: t for key, t in phase.tensors.items() if key not in tensors})
                        for name, phase in self.phases.items()}
        return bound

    def workspace_size(self, phase: str, *, tokens: int, batch: int, capacity: int) -> int:
        """Bytes of the workspace with which `phase` splits the caches of its requests into parts; 0: it does not. On GPUs:
        which it needs."""
        return self._kernels.workspace_size(phase, tokens, batch, capacity)

    def run(self, phase: str, tensors: Mapping[str, Any], *, workspace: Any = True, stream: int | None = None) -> None:
        """Calls a phase with all of its tensors, results included.

        workspace: a contiguous tensor aligned to 64 bytes, of `workspace_size` bytes or more; True: memory that the
        pack, on GPUs the framework of the queries, has for this; False: none, caches are not split. stream: of a GPU;
        None: the framework's present one.
        """
        self._run(phase, tensors, workspace, stream)

    def _run(self, phase: str, tensors: Mapping[str, Any], workspace: Any, stream: int | None,
             exporter: Any = None) -> None:
        """run. exporter: makes a DLPack capsule of a tensor of the framework at hand, none of which another stream still
        writes."""
        if known := self._bound.get(phase):
            tensors = {**known, **tensors}
        if not self.is_gpu:
            if stream is not None:
                raise InvalidArgument(f"{phase}: stream is {stream!r}; expected None on device {self.device}")
            self._kernels.run(phase, tensors, workspace, 0, exporter)
            return
        like = next((tensor for tensor in tensors.values() if arrays.is_on_gpu(tensor)), None)
        if stream is None:
            stream = arrays.current_stream(like)
        if workspace is True:
            workspace = functools.partial(arrays.device_bytes, like, stream)
        self._kernels.run(phase, tensors, workspace, stream, exporter)

    def append(self, *, stream: int | None = None, **tensors: Any) -> None:
        """New tokens enter the cache. `lengths` is not changed: add the new tokens to it before decode or prefill."""
        self.run("append", tensors, workspace=False, stream=stream)

    def decode(self, *, workspace: Any = True, stream: int | None = None, **tensors: Any) -> tuple[Any, Any]:
        """Attention of few query tokens per request over the cache. Returns (out, lse): those given, or new tensors of
        the framework of the queries."""
        return self._attend("decode", tensors, workspace, stream)

    def prefill(self, *, workspace: Any = True, stream: int | None = None, **tensors: Any) -> tuple[Any, Any]:
        """Attention of many query tokens per request: the same mathematics as decode."""
        return self._attend("prefill", tensors, workspace, stream)

    def merge(self, out0: Any, lse0: Any, out1: Any, lse1: Any, *, out: Any = None, lse: Any = None,
              stream: int | None = None) -> tuple[Any, Any]:
        """Merges two attention results over disjoint sets of tokens. Returns (out, lse)."""
        tensors = {"out0": out0, "lse0": lse0, "out1": out1, "lse1": lse1, "out": out, "lse": lse}
        return self._attend("merge", tensors, False, stream)

    def _attend(self, name: str, tensors: dict[str, Any], workspace: Any, stream: int | None,
                exporter: Any = None) -> tuple[Any, Any]:
        phase = self.phases[name]
        for output in phase.outputs:
            if tensors.get(output.name) is None:
                like = tensors.get(phase.token_tensor)
                if like is None:
                    raise TypeError(f"{name}: the tensor {phase.token_tensor} is missing")
                tensors[output.name] = arrays.empty_like(like, output)
        self._run(name, tensors, workspace, stream, exporter)
        return tensors["out"], tensors["lse"]


def open(source: str | os.PathLike[str] | bytes, *, device: str = "cpu",
         threads: int | _native.ThreadPool | None = None) -> Pack:
    """Opens a pack: a directory that `tpac build` made, a tar archive of one, or the bytes of such an archive.

    device: "cpu", "cuda" or "cuda:N". threads: on how many a CPU's kernels run, the caller's included, or the pool that
    runs them; 1: the caller's alone; None: `default_thread_pool()`. Results do not depend on it.
    """
    path = source if isinstance(source, bytes) else os.fspath(source)
    if device != "cpu":
        number = re.fullmatch(r"cuda(?::(\d+))?", device)
        if not number:
            raise InvalidArgument(f"device is {device!r}; expected 'cpu', 'cuda' or 'cuda:N'")
        if threads is not None:
            raise InvalidArgument(f"threads is {threads!r}; expected None on device {device}")
        index = int(number[1] or 0)
        return Pack(_native.Kernels(path, None, _native.CUDA, index), f"cuda:{index}")
    if threads is None:
        pool = default_thread_pool()
    elif isinstance(threads, _native.ThreadPool):
        pool = threads
    else:
        pool = None if threads == 1 else _native.ThreadPool(threads)
    return Pack(_native.Kernels(path, pool), device)
