#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes examples/t6/model from a directory with the whole recording of t6-mini.

    examples/t6/trim_recording.py SOURCE [TARGET]

Weights and configuration are copied byte for byte. Of the recording stay the first TOKENS tokens of the attention
inputs and outputs (attention is causal, so they do not depend on the tokens that are cut off) and the logits of the
last 16 positions. Values are copied, never converted or computed. Must not grow into a general tool: the engine that
reads these files is tpac.
"""

import json
import pathlib
import shutil
import struct
import sys

NAME = "t6-mini"
TOKENS = 320
LOGIT_POSITIONS = 16
LIMIT_BYTES = 10_000_000
ELEMENT_BYTES = {"F32": 4, "I32": 4}


def read(path):
    """Returns {name: (dtype, shape, bytes)} of a safetensors file."""
    content = path.read_bytes()
    (length,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8 : 8 + length])
    data = content[8 + length :]
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            tensors[name] = (entry["dtype"], entry["shape"], data[begin:end])
    return tensors


def write(path, tensors):
    header, offset = {}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(data for _, _, data in tensors.values()))


def keep_positions(tensor, begin, end):
    """Positions begin .. end of a tensor [sequences, positions, features]."""
    dtype, (sequences, positions, features), data = tensor
    if not 0 <= begin < end <= positions:
        raise ValueError(f"positions {begin} to {end}: the recording holds {positions}")
    row = features * ELEMENT_BYTES[dtype]
    parts = [data[(s * positions + begin) * row : (s * positions + end) * row] for s in range(sequences)]
    return dtype, [sequences, end - begin, features], b"".join(parts)


def trim(recording):
    kept = {}
    for name, tensor in recording.items():
        if name.endswith((".attention_input", ".attention_output")):
            kept[name] = keep_positions(tensor, 0, TOKENS)
        elif name == "logits":
            positions = tensor[1][1]
            kept[f"logits.last{LOGIT_POSITIONS}"] = keep_positions(tensor, positions - LOGIT_POSITIONS, positions)
        else:
            kept[name] = tensor
    return kept


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    source = pathlib.Path(sys.argv[1])
    target = pathlib.Path(sys.argv[2]) if len(sys.argv) == 3 else pathlib.Path(__file__).resolve().parent / "model"
    target.mkdir(parents=True, exist_ok=True)
    for ending in (".safetensors", ".json"):
        shutil.copyfile(source / (NAME + ending), target / (NAME + ending))
    reference = NAME + ".reference.safetensors"
    write(target / reference, trim(read(source / reference)))
    total = sum(path.stat().st_size for path in target.iterdir())
    print(f"{target}: {total} bytes")
    if total > LIMIT_BYTES:
        sys.exit(f"found {total} bytes in {target}, accepted are {LIMIT_BYTES}: lower TOKENS")


if __name__ == "__main__":
    main()
