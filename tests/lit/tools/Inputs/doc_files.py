# SPDX-License-Identifier: Apache-2.0
"""doc_files.py PAGE DIRECTORY: writes the fenced blocks of a page as the files that their fences name ("```c engine.c")."""
import re
import sys
from pathlib import Path

page, directory = Path(sys.argv[1]), Path(sys.argv[2])
directory.mkdir(parents=True, exist_ok=True)
names = []
for fence, name, text in re.findall(r"^```(\w*) ?([^\n]*)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
    if not name or name in names:
        sys.exit(f"{page}: a block of {fence or 'no language'} has {'a name again' if name else 'no name'}: {text[:60]!r}")
    names.append(name)
    (directory / name).write_text(text)
print(*names)
