# SPDX-License-Identifier: Apache-2.0
"""winner.py FILE OUT KNOB=VALUE... [field.path=VALUE]: a file of one record, which holds the default schedule alone, with
a winner besides: the default with other values, in half of its time. Names with dots change members of the entry."""
import json
import sys

source, out, *changes = sys.argv[1:]
file = json.load(open(source))
entry = file["entries"][0]
default = entry["best"][0]
winner = dict(default, schedule=dict(default["schedule"]), median_us=default["median_us"] / 2, mad_us=0)
for change in changes:
    name, value = change.split("=")
    *path, last = name.split(".")
    if not path:
        assert last in winner["schedule"], last
        winner["schedule"][last] = value
        continue
    place = entry
    for part in path:
        place = place[part]
    place[last] = int(value) if value.isdigit() else value
entry["best"] = [winner, default]
json.dump(file, open(out, "w"))
