# SPDX-License-Identifier: Apache-2.0
"""What is refused is refused with a message that names it, what was found and what is expected; nothing is written."""
import ctypes

import numpy as np
import pytest

import tpac
from reference import HEADS, SIZE, Requests, int32


@pytest.fixture
def call(mini):
    """call(**changes): decode of two requests, with arguments changed; None leaves one out."""
    requests = Requests(lengths=[5, 9], queries=[1, 1])
    cache = mini.new_cache(batch=2, capacity=16)
    mini.append(**requests.append_arguments(), **cache)
    out, lse = np.full((2, HEADS, SIZE), 7, np.float32), np.zeros((2, HEADS), np.float32)

    def run(**changes):
        arguments = requests.query_arguments() | cache | {"out": out, "lse": lse} | changes
        try:
            return mini.decode(**{name: value for name, value in arguments.items() if value is not None})
        except Exception:
            assert (out == 7).all()
            raise

    run()
    out.fill(7)
    return run


def test_tensors_that_do_not_fit(call):
    refused = lambda message, **changes: pytest.raises(tpac.InvalidArgument, match=message)
    with refused(r"decode: q_head has shape \[2, 5, 11\]; expected \[tokens, 6, 11\]"):
        call(q_head=np.zeros((2, 5, 11), np.float32))
    with refused(r"decode: q_token has shape \[3, 6, 64\]; expected \[tokens, 6, 64\] with tokens = 2, as in q_head"):
        call(q_token=np.zeros((3, 6, 64), np.float32))
    with refused(r"decode: token_start has shape \[0\]; expected \[batch \+ 1\]"):
        call(token_start=int32([]))
    with refused(r"decode: lengths has shape \[2, 1\]; expected \[batch\]"):
        call(lengths=int32([[5], [9]]))
    with refused("decode: q_head is of f64; expected f32"):
        call(q_head=np.zeros((2, 6, 11)))
    with refused("decode: positions is of i64; expected i32"):
        call(positions=np.zeros(2, np.int64))
    with refused("decode: q_head is of list and cannot be taken: it has no __dlpack__; expected a tensor with DLPack"):
        call(q_head=[1, 2])


def test_read_only_results(call):
    out = np.zeros((2, HEADS, SIZE), np.float32)
    out.flags.writeable = False
    with pytest.raises(tpac.InvalidArgument, match="decode: out is of ndarray and cannot be taken: .*read-?only"):
        call(out=out)


def test_names_of_tensors(call, mini):
    with pytest.raises(TypeError, match="decode: the tensor q_token is missing"):
        call(q_token=None)
    with pytest.raises(TypeError, match="decode takes no tensor q_tokens"):
        call(q_tokens=int32([1]))
    with pytest.raises(TypeError, match="decode: the tensor q_head is missing"):
        mini.decode()


def test_what_the_pack_refuses(call):
    with pytest.raises(tpac.InvalidArgument, match="lengths") as caught:
        call(lengths=int32([5, 17]))
    assert caught.value.status == 1 and isinstance(caught.value, (tpac.Error, ValueError))
    with pytest.raises(tpac.InvalidArgument, match="q_head.strides holds a negative stride"):
        call(q_head=np.zeros((2, 6, 11), np.float32)[:, ::-1])


def test_sizes_that_do_not_fit(mini, build_pack):
    with pytest.raises(TypeError, match="found pages; expected batch and capacity, as the pack's page size is 0"):
        mini.new_cache(pages=3)
    with pytest.raises(tpac.InvalidArgument, match="capacity is 40; expected a multiple of 32"):
        tpac.open(build_pack("configs/t6-mini.json")).new_cache(batch=1, capacity=40)


def test_packs_that_cannot_be_opened(tmp_path):
    with pytest.raises(tpac.InvalidArgument, match="none: no such file or directory"):
        tpac.open(tmp_path / "none")
    with pytest.raises(tpac.InvalidArgument, match="memory"):
        tpac.open(b"not an archive")
    with pytest.raises(tpac.InvalidArgument, match="device is 'gpu'; expected 'cpu', 'cuda' or 'cuda:N'"):
        tpac.open(tmp_path, device="gpu")
    with pytest.raises(tpac.InvalidArgument, match="threads is 2; expected None on device cuda:1"):
        tpac.open(tmp_path, device="cuda:1", threads=2)


class CudaTensor:
    """A tensor that says it is on CUDA device 3: what is under it is never looked at."""

    class Managed(ctypes.Structure):
        _fields_ = [("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32),
                    ("ndim", ctypes.c_int32), ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8),
                    ("lanes", ctypes.c_uint16), ("shape", ctypes.c_void_p), ("strides", ctypes.c_void_p),
                    ("byte_offset", ctypes.c_uint64), ("context", ctypes.c_void_p), ("deleter", ctypes.c_void_p)]

    def __init__(self, *shape):
        self.extents = (ctypes.c_int64 * len(shape))(*shape)
        self.managed = self.Managed(0x1000, 2, 3, len(shape), 2, 32, 1, ctypes.addressof(self.extents))

    def __dlpack_device__(self):
        return 2, 3

    def __dlpack__(self, **options):
        new = ctypes.pythonapi.PyCapsule_New
        new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
        return new(ctypes.addressof(self.managed), b"dltensor", None)


def test_tensors_on_other_devices(call, mini):
    with pytest.raises(tpac.InvalidArgument, match="decode: q_head is on CUDA device 3; expected a tensor on the CPU"):
        call(q_head=CudaTensor(2, 6, 11))
    with pytest.raises(tpac.InvalidArgument, match="stream is 5; expected None on device cpu"):
        mini.run("decode", {}, stream=5)
