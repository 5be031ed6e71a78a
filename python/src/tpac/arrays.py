# SPDX-License-Identifier: Apache-2.0
"""New tensors of the frameworks that can be written in place, and on which stream they are written."""
from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .pack import TensorInfo

# What NumPy and CuPy lack is given as bits.
_NUMPY_TYPES = {"f64": "float64", "f32": "float32", "f16": "float16", "bf16": "uint16", "f8E4M3FN": "uint8",
                "i8": "int8", "u8": "uint8", "i32": "int32"}
_TORCH_TYPES = {"f64": "float64", "f32": "float32", "f16": "float16", "bf16": "bfloat16", "f8E4M3FN": "float8_e4m3fn",
                "i8": "int8", "u8": "uint8", "i32": "int32"}


def torch_type(type: str) -> Any:
    """The torch.dtype of a manifest's element type."""
    return getattr(importlib.import_module("torch"), _TORCH_TYPES[type])


def zeros(framework: str, shape: tuple[int, ...], type: str, device: str) -> Any:
    library = importlib.import_module(framework)
    if framework == "torch":
        return library.zeros(shape, dtype=torch_type(type), device=device)
    if framework == "cupy":
        with library.cuda.Device(int(device.partition(":")[2])):
            return library.zeros(shape, dtype=_NUMPY_TYPES[type])
    return library.zeros(shape, dtype=_NUMPY_TYPES[type])


def _framework_of(tensor: Any) -> str:
    return type(tensor).__module__.partition(".")[0]


def is_on_gpu(tensor: Any) -> bool:
    """Whether `tensor` is one of a framework that has streams, on a GPU."""
    framework = _framework_of(tensor)
    return framework == "cupy" or (framework == "torch" and tensor.is_cuda)


def current_stream(tensor: Any) -> int:
    """The stream on which the framework of `tensor`, on a GPU, works at present; 0, the default stream, for those that
    do not say."""
    framework = _framework_of(tensor)
    if framework == "torch":
        return importlib.import_module("torch").cuda.current_stream(tensor.device).cuda_stream
    return importlib.import_module("cupy").cuda.get_current_stream().ptr if framework == "cupy" else 0


def device_bytes(tensor: Any, stream: int, count: int) -> Any:
    """`count` bytes on the GPU of `tensor`, which its framework gives to nobody else before work on `stream` is done."""
    framework = _framework_of(tensor)
    if framework not in ("torch", "cupy"):
        raise TypeError(f"a workspace cannot be made as a tensor of {framework}; give it as an argument")
    library = importlib.import_module(framework)
    if framework == "torch":
        if stream == library.cuda.current_stream(tensor.device).cuda_stream:
            return library.empty(count, dtype=library.uint8, device=tensor.device)
        with library.cuda.stream(library.cuda.ExternalStream(stream, tensor.device)):
            return library.empty(count, dtype=library.uint8, device=tensor.device)
    with tensor.device, library.cuda.ExternalStream(stream):
        return library.empty(count, dtype="uint8")


def empty_like(tensor: Any, info: TensorInfo) -> Any:
    """Room for the output `info` of a call, in the framework of `tensor`, which is [tokens, ...]."""
    framework = _framework_of(tensor)
    if framework not in ("numpy", "torch", "cupy"):
        raise TypeError(f"{info.name} cannot be made as a tensor of {framework}; give it as an argument")
    shape = info.extents({"tokens": tensor.shape[0]})
    library = importlib.import_module(framework)
    if framework == "torch":
        return library.empty(shape, dtype=torch_type(info.type), device=tensor.device)
    return library.empty(shape, dtype=_NUMPY_TYPES[info.type])
