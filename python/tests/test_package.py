# SPDX-License-Identifier: Apache-2.0
"""What is installed: types for type checkers; and that an sdist holds all that its build needs."""
import ast
import os
import subprocess
import sys
import tarfile
import venv
from pathlib import Path

import pytest

import tpac
from tpac import _native

PROJECT = Path(__file__).resolve().parents[1]


def test_types_are_installed():
    folder = Path(tpac.__file__).parent
    assert (folder / "py.typed").exists()
    stub = ast.parse((folder / "_native.pyi").read_text())
    described = {node.name for node in stub.body if isinstance(node, (ast.ClassDef, ast.FunctionDef))}
    assert described >= {name for name, value in vars(_native).items() if isinstance(value, type)}
    assert "page_list" in {node.name for c in stub.body if isinstance(c, ast.ClassDef) for node in c.body
                           if isinstance(node, ast.FunctionDef)}


@pytest.fixture
def sdist(tmp_path):
    command = f"from scikit_build_core.build import build_sdist; build_sdist({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", command], cwd=PROJECT, check=True, stdout=subprocess.DEVNULL)
    (archive,) = tmp_path.glob("tpac-*.tar.gz")
    return archive


def test_sdist_holds_the_runtime(sdist):
    with tarfile.open(sdist) as archive:
        files = {member.name.partition("/")[2] for member in archive if member.isreg()}
    runtime = PROJECT.parent / "runtime"
    sources = {str(file.relative_to(PROJECT.parent)) for ending in ("*.cpp", "*.h") for file in runtime.rglob(ending)}
    assert {name for name in sources if not name.startswith("runtime/bench/")} <= files
    assert {"LICENSE", "CMakeLists.txt", "native/Module.cpp", "src/tpac/py.typed"} <= files


@pytest.mark.slow
def test_sdist_builds_in_a_clean_environment(sdist, tmp_path):
    """By pip alone, in a new environment and another folder: neither the repository nor LLVM."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    subprocess.run([python, "-m", "pip", "install", "--quiet", sdist], cwd=tmp_path, env=environment, check=True)
    program = "import tpac; print(tpac.__version__, tpac.ThreadPool(2).threads, tpac.PagePool(3, 4).page_size)"
    shown = subprocess.run([python, "-c", program], cwd=tmp_path, env=environment, check=True, capture_output=True,
                           text=True)
    assert shown.stdout.split() == [tpac.__version__, "2", "4"]
