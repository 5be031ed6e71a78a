# SPDX-License-Identifier: Apache-2.0
"""json_values.py NAME...: reads one JSON document from stdin and prints the values at the names, `a.b` for nested ones."""
import json
import sys

document = json.load(sys.stdin)
for name in sys.argv[1:]:
    value = document
    for part in name.split("."):
        value = value[int(part) if isinstance(value, list) else part]
    print(f"{name}: {value if isinstance(value, str) else json.dumps(value)}")
