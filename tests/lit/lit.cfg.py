# SPDX-License-Identifier: Apache-2.0
"""Settings of the lit tests. Tests name tools plainly (`tpa-opt %s | FileCheck %s`): their folders lead the PATH."""
import os
import platform
import shutil
import subprocess
import sys

import lit.formats

config.name = "tpac"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.excludes = ["Inputs"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = os.path.join(config.tpac_lit_dir, "out")

config.environment["PATH"] = os.pathsep.join(
    [config.tpac_tools_dir, config.llvm_tools_dir, config.environment.get("PATH", "")])
# Who runs the tests may have tuning records; no test takes them.
config.environment["TPAC_RECORDS"] = os.path.join(config.test_exec_root, "no-records.json")
for name in ("TPAC_TEST_EFFORT", "ASAN_OPTIONS", "UBSAN_OPTIONS"):
    if name in os.environ:
        config.environment[name] = os.environ[name]

config.substitutions.append(("%configs", os.path.join(config.tpac_source_root, "configs")))
config.substitutions.append(("%source_root", config.tpac_source_root))
config.substitutions.append(("%build_root", config.tpac_build_root))
config.substitutions.append(("%python", sys.executable))
# NVIDIA's driver without a GPU: `env %fake_gpu PROGRAM` finds it in the system's place.
config.substitutions.append(("%fake_gpu", "LD_LIBRARY_PATH=" + os.path.join(config.tpac_build_root,
                                                                            "tests/cuda/fake")))

# The same, and it executes kernels on the CPU, which must be PTX: there is no assembler for it.
config.substitutions.append(("%emulated_gpu", "FAKE_CUDA_EXECUTES=1 TPAC_PTXAS= LD_LIBRARY_PATH=" +
                             os.path.join(config.tpac_build_root, "tests/cuda/fake")))

# What takes long is left out of a quick run: `%if thorough %{ command %}`.
if os.environ.get("TPAC_TEST_EFFORT") != "quick":
    config.available_features.add("thorough")
# And what takes minutes: `%if full %{ command %}`, in full runs alone.
if os.environ.get("TPAC_TEST_EFFORT") == "full":
    config.available_features.add("full")

# What a test may require: the machine's architecture, and QEMU's user emulation of CPUs.
config.available_features.add(platform.machine())
if shutil.which("qemu-x86_64"):
    config.available_features.add("qemu-x86_64")
# And GNU parallel; other programs of that name do not say so.
if shutil.which("parallel") and "GNU parallel" in subprocess.run(
        ["parallel", "--version"], capture_output=True, text=True, check=False).stdout:
    config.available_features.add("parallel")

# Libraries that are checked by sanitizers are no use to a program without them.
if config.tpac_sanitize:
    config.available_features.add("sanitized")

# The assembler of NVIDIA's toolkit is optional (docs/gpu.md).
installed = os.path.join(config.tpac_source_root, "build/ptxas/nvidia/cu13/bin")
ptxas = next(filter(None, (shutil.which("ptxas", path=path) for path in
                           (None, installed, "/usr/local/cuda/bin", "/usr/lib/nvidia-cuda-toolkit/bin"))), None)
if ptxas:
    config.available_features.add("ptxas")
    config.substitutions.append(("%ptxas", ptxas))
