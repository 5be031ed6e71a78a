# SPDX-License-Identifier: Apache-2.0
"""Runs kernel packs of tpac on tensors of NumPy, PyTorch and whatever else speaks DLPack.

    pack = tpac.open("t6-medium.tar")
    pack.append(k_head=..., ..., v_token_cache=...)
    out, lse = pack.decode(q_head=..., ..., v_token_cache=...)

PyTorch operators and a model that uses them are in `tpac.torch`, which is not imported here.
"""
from ._native import SPIN_NEVER, PageCopy, PagePool, PagePoolStatistics, ThreadPool, runtime_version
from .errors import DeviceError, Error, InvalidArgument, OutOfMemory, OutOfPages, SystemFailure
from .pack import Pack, Phase, TensorInfo, default_thread_pool, open

__version__ = runtime_version()

__all__ = [
    "DeviceError", "Error", "InvalidArgument", "OutOfMemory", "OutOfPages", "Pack", "PageCopy", "PagePool", "PagePoolStatistics",
    "Phase", "SPIN_NEVER", "SystemFailure", "TensorInfo", "ThreadPool", "default_thread_pool", "open",
    "runtime_version",
]
