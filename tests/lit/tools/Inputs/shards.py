# SPDX-License-Identifier: Apache-2.0
"""shards.py FOLDER: what shard.test left there. Each part has less than eight schedules besides the default, so that its
record names all of them."""
import json
import sys
from itertools import combinations
from pathlib import Path

folder = Path(sys.argv[1])


def best(name):
    entry, = json.load(open(folder / name))["entries"]
    return {json.dumps(one["schedule"], sort_keys=True): one["median_us"] for one in entry["best"]}


whole = json.load(open(folder / "whole-tuned.json"))["results"][0]
default = json.dumps(whole["entry"]["best"][0]["schedule"], sort_keys=True)
parts = [best(f"{number}.json") for number in (1, 2, 3)]
identical = json.load(open(folder / "tuned.json"))["results"][0]["identical"]
assert identical == 0, f"schedules with the same code are not named: {identical}"
for one, other in combinations(parts, 2):
    assert one.keys() & other.keys() == {default}, one.keys() & other.keys()
together = {}
for part in parts:
    for schedule, us in part.items():
        together[schedule] = min(us, together.get(schedule, us))
assert len(together) == whole["candidates"], (len(together), whole["candidates"])
up, down = best("up.json"), best("down.json")
assert up == down
assert json.load(open(folder / "up.json"))["entries"] == json.load(open(folder / "down.json"))["entries"]
assert sorted(up.values()) == sorted(together.values())[:8]
print(f"{len(parts)} parts make {len(together)} schedules; merged in either order: the fastest {len(up)} of them")
