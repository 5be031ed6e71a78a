# SPDX-License-Identifier: Apache-2.0
"""Packs as PyTorch operators, which torch.compile understands, and models that use them.

`torch.ops.tpac.append`, `decode`, `prefill` and `merge` take a pack by a handle and its tensors as lists; `Kernels`
calls them with tensors by name. `T6` is a transformer under the published checkpoints' names, `Batch` runs requests
through it.
"""
from .ops import Kernels, register
from .t6 import Batch, T6

__all__ = ["Batch", "Kernels", "T6", "register"]
