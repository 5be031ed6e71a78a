#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks docs/variant.schema.json, configs/ and the table of configs/README.md against each other.

Every file of configs/ must satisfy the schema and bear its own name; variants broken on purpose must not satisfy it; each
row of the table must state what the file says. Exits with 1 and one line per fault. Needs python3-jsonschema.
"""
import copy
import json
import sys
from math import prod
from pathlib import Path

import jsonschema

ROOT = Path(__file__).resolve().parents[3]
BYTES = {"f64": 8, "f32": 4, "bf16": 2, "f16": 2, "f8E4M3FN": 1, "i8": 1}

# Each is t6-medium with one field (a path) replaced, or taken out where the value is absent.
ABSENT = object()
BROKEN = [
    (["tpac_variant"], 2),
    (["tpac_variant"], ABSENT),
    (["name"], ABSENT),
    (["name"], "6t"),
    (["name"], "t6 medium"),
    (["name"], ""),
    (["heads"], 0),
    (["heads"], 47.5),
    (["heads"], "47"),
    (["heads"], 1048577),
    (["heads"], ABSENT),
    (["head_range"], [0]),
    (["head_range"], [0, 1, 2]),
    (["head_range"], [-1, 4]),
    (["head_range"], {"begin": 0, "end": 4}),
    (["q"], ABSENT),
    (["q"], None),
    (["q"], {}),
    (["q"], {"dense": 64, "rank": 47}),
    (["q"], {"dense": 0}),
    (["q", "rank"], ABSENT),
    (["q", "rank"], 0),
    (["q", "normalized"], 1),
    (["q", "head"], ABSENT),
    (["q", "head", "source"], "shared"),
    (["q", "head", "source"], ABSENT),
    (["q", "head", "source"], "fixed"),
    (["q", "head", "map"], "ones"),
    (["q", "head"], {"source": "fixed", "map": "twos"}),
    (["q", "head"], {"source": "fixed", "map": "ones"}),
    (["q", "head"], {"source": "fixed", "map": "groups", "function": "sigmoid"}),
    (["q", "head", "function"], "relu"),
    (["q", "token"], []),
    (["q", "token"], {"source": "contextual", "size": 64}),
    (["q", "token", 0, "source"], "fixed"),
    (["q", "token", 0, "source"], "shared"),
    (["k", "token", 0, "source"], "shared"),
    (["k", "token", 0, "size"], "64"),
    (["k", "token", 0, "size"], 0),
    (["k", "token", 0, "size"], ABSENT),
    (["k", "token", 0, "scale"], 1),
    (["v", "token"], [{"source": "shared", "size": 32}, {"source": "contextual", "size": 2}]),
    (["rope"], None),
    (["rope", "d_rot"], 63),
    (["rope", "d_rot"], ABSENT),
    (["rope", "direction"], 0),
    (["rope", "layout"], "split"),
    (["rope", "offset"], -2),
    (["rope", "base"], 0),
    (["rope", "inv_freq"], [1.0]),
    (["rope", "amplitude"], 0),
    (["v_sees"], "rotated"),
    (["scale"], 0),
    (["scale"], "1"),
    (["softcap"], -1),
    (["causal"], "yes"),
    (["window"], 0),
    (["query_precision"], "half"),
    (["types", "activation"], "i8"),
    (["types", "token"], "fp8"),
    (["types", "output"], "f64"),
    (["types", "compute"], "bf16"),
    (["weights", "head_factor_rows"], "row_major"),
    (["weights", "layout"], "head_major"),
    (["windows"], 4),
]


def changed(variant, path, value):
    result = copy.deepcopy(variant)
    target = result
    for step in path[:-1]:
        target = target[step]
    if value is ABSENT:
        del target[path[-1]]
    else:
        target[path[-1]] = value
    return result


def factored(side, heads):
    """The side with {"dense": D} and defaults spelled out."""
    if "dense" in side:
        side = {"rank": heads, "head": {"source": "fixed", "map": "one_hot"},
                "token": [{"source": "contextual", "size": side["dense"]}]}
    return side


def cache_bytes(variant):
    """Bytes that one token takes in the cache of this pack (docs/variant.md, append)."""
    heads = variant["heads"]
    begin, end = variant.get("head_range", [0, heads])
    types = variant.get("types", {})
    size = {name: BYTES[types.get(name, default)]
            for name, default in [("head", "bf16"), ("token", "bf16"), ("compute", "f32")]}
    k, v = (factored(variant[name], heads) for name in "kv")
    key_contextual = any(token["source"] == "contextual" for token in k["token"])
    total = 0
    scaled = False
    for side in (k, v):
        rank = end - begin if side["head"].get("map") == "one_hot" else side["rank"]
        shared = side["token"][0]["source"] == "shared"
        if side["head"]["source"] == "contextual":
            total += rank * (end - begin) * size["head"]
        total += sum(rank * token["size"] * size["token"] for token in side["token"]
                     if token["source"] == "contextual")
        contextual = key_contextual if shared else any(t["source"] == "contextual" for t in side["token"])
        if size["token"] == 1 and contextual and side["head"]["source"] != "contextual" and not (shared and scaled):
            total += rank * size["compute"]
            scaled = True
    if "rope" in variant and (variant.get("v_sees") == "unrotated" or k["token"][0]["source"] == "learned"):
        total += 4
    return total


def table_row(variant):
    """Columns of the README's table, without the last (what the file shows)."""
    heads = variant["heads"]
    begin, end = variant.get("head_range", [0, heads])
    sides = [factored(variant[name], heads) for name in "qkv"]
    features = [prod(token["size"] for token in side["token"]) for side in sides]
    ranks = "/".join("dense" if "dense" in variant[name] else str(variant[name]["rank"]) for name in "qkv")
    return [f"`{variant['name']}`", str(heads) if end - begin == heads else f"{end - begin} of {heads}",
            f"{features[1]}/{features[2]}", ranks, str(cache_bytes(variant))]


def main():
    schema = json.loads((ROOT / "docs/variant.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    faults = []

    files = sorted((ROOT / "configs").glob("*.json"))
    variants = {file.stem: json.loads(file.read_text()) for file in files}
    for name, variant in variants.items():
        faults += [f"configs/{name}.json: {error.json_path}: {error.message}"
                   for error in validator.iter_errors(variant)]
        if variant["name"] != name:
            faults.append(f"configs/{name}.json: $.name: found {variant['name']!r}, accepted: the file's name")

    whole = variants["t6-medium"]
    for path, value in BROKEN:
        if validator.is_valid(changed(whole, path, value)):
            shown = "nothing" if value is ABSENT else json.dumps(value)
            faults.append(f"variant.schema.json: accepts {shown} at {'.'.join(map(str, path))}")

    rows = {}
    for text in (ROOT / "configs/README.md").read_text().splitlines():
        cells = [cell.strip() for cell in text.strip("|").split("|")]
        if text.startswith("| `"):
            rows[cells[0].strip("`")] = cells[:-1]
    for name in sorted(variants.keys() | rows.keys()):
        expected = table_row(variants[name]) if name in variants else None
        if rows.get(name) != expected:
            faults.append(f"configs/README.md: {name}: found {rows.get(name)}, expected {expected}")

    print("\n".join(faults + [f"{len(variants)} configurations, {len(BROKEN)} broken variants, {len(faults)} faults"]))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
