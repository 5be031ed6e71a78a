# SPDX-License-Identifier: Apache-2.0
"""exit_code.py CODE COMMAND...: runs the command with both its outputs on stdout; succeeds if it ends with CODE."""
import subprocess
import sys

process = subprocess.run(sys.argv[2:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
print(process.stdout, end="")
if process.returncode != int(sys.argv[1]):
    sys.exit(f"expected exit code {sys.argv[1]}, got {process.returncode}")
