# SPDX-License-Identifier: Apache-2.0
"""The Python of docs/integrate.md, run as the page says."""
import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT


@pytest.mark.thorough
def test_every_snippet(tpac_program, tmp_path, monkeypatch):
    extract = ROOT / "tests/lit/tools/Inputs/doc_files.py"
    names = subprocess.run([sys.executable, extract, ROOT / "docs/integrate.md", tmp_path], check=True,
                           capture_output=True, text=True).stdout.split()
    (tmp_path / "tpac").symlink_to(tpac_program)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.chdir(tmp_path)
    build = next(line for line in Path("pack.sh").read_text().splitlines() if line.startswith("tpac build"))
    subprocess.run(build, shell=True, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["bash", "-e", "shards.sh"], check=True, stdout=subprocess.DEVNULL)

    variables, shown = {}, io.StringIO()
    snippets = [name for name in names if name.endswith(".py")]
    assert snippets[0] == "engine.py"
    with contextlib.redirect_stdout(shown):
        for name in snippets:
            exec(compile(Path(name).read_text(), name, "exec"), variables)
    assert shown.getvalue() == Path("output").read_text()
