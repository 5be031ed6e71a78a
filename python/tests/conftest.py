# SPDX-License-Identifier: Apache-2.0
"""Packs for the tests, built by the program that the environment variable TPAC names (else by `tpac` of the PATH)."""
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

import tpac

ROOT = Path(__file__).resolve().parents[2]


def pytest_collection_modifyitems(items):
    effort = os.environ.get("TPAC_TEST_EFFORT", "normal")
    for item in items:
        if "slow" in item.keywords and effort != "full":
            item.add_marker(pytest.mark.skip(reason="takes a minute: TPAC_TEST_EFFORT=full runs it"))
        if "thorough" in item.keywords and effort == "quick":
            item.add_marker(pytest.mark.skip(reason="compiles packs of its own: left out of a quick run"))


@pytest.fixture(scope="session")
def tpac_program():
    program = os.environ.get("TPAC") or shutil.which("tpac")
    if not program:
        pytest.fail("no tpac: set TPAC to the program, such as build/release/bin/tpac")
    return Path(program).resolve()


@pytest.fixture(scope="session")
def build_pack(tpac_program, tmp_path_factory):
    """build_pack(variant, *options, **changes): directory of the pack. variant: a file of the repository; changes:
    fields of it that are replaced."""
    folder = tmp_path_factory.mktemp("packs")
    built = {}

    def build(variant, *options, **changes):
        key = (variant, options, json.dumps(changes))
        if key not in built:
            text = json.loads((ROOT / variant).read_text()) | changes
            file = folder / f"{len(built)}.json"
            file.write_text(json.dumps(text))
            built[key] = folder / f"pack{len(built)}"
            subprocess.run([tpac_program, "build", file, *options, "-o", built[key]], check=True,
                           stdout=subprocess.DEVNULL)
        return built[key]

    return build


MINI = "examples/t6/variants/t6-mini-f32.json"


@pytest.fixture(scope="session")
def mini_path(build_pack):
    return build_pack(MINI)


@pytest.fixture(scope="session")
def mini(mini_path):
    """t6-mini in f32: 11 heads, ranks 6, 2 and 2, 64 features, contiguous caches."""
    return tpac.open(mini_path, threads=2)
