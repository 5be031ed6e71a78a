# SPDX-License-Identifier: Apache-2.0
"""New tensors of the frameworks that can be written in place."""
from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .pack import TensorInfo

# What NumPy and CuPy lack is given as bits.
_NUMPY_TYPES = {"f64": "float64", "f32": "float32", "f16": "float16", "bf16": "uint16", "f8E4M3FN": "uint8",
                "i8": "int8", "i32": "int32"}
_TORCH_TYPES = {"f64": "float64", "f32": "float32", "f16": "float16", "bf16": "bfloat16", "f8E4M3FN": "float8_e4m3fn",
                "i8": "int8", "i32": "int32"}


def torch_type(type: str) -> Any:
    """The torch.dtype of a manifest's element type."""
    return getattr(importlib.import_module("torch"), _TORCH_TYPES[type])


def zeros(framework: str, shape: tuple[int, ...], type: str, device: Any = None) -> Any:
    if framework == "torch":
        return importlib.import_module("torch").zeros(shape, dtype=torch_type(type), device=device)
    if framework in ("numpy", "cupy"):
        return importlib.import_module(framework).zeros(shape, dtype=_NUMPY_TYPES[type])
    raise TypeError(f"framework is {framework!r}; expected 'numpy', 'torch' or 'cupy'")


def empty_like(tensor: Any, info: TensorInfo) -> Any:
    """Room for the output `info` of a call, in the framework of `tensor`, which is [tokens, ...]."""
    framework = type(tensor).__module__.partition(".")[0]
    if framework not in ("numpy", "torch", "cupy"):
        raise TypeError(f"{info.name} cannot be made as a tensor of {framework}; give it as an argument")
    shape = info.extents({"tokens": tensor.shape[0]})
    library = importlib.import_module(framework)
    if framework == "torch":
        return library.empty(shape, dtype=torch_type(info.type), device=tensor.device)
    return library.empty(shape, dtype=_NUMPY_TYPES[info.type])
