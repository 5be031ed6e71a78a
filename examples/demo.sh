#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What tpac does today, on a machine with no GPU: `./dev demo` builds and runs this. First trained models' attention through
# the compiled path against recordings, then a kernel pack and a C program that links it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tpac=build/release/bin/tpac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

echo "1. Attention of trained models, computed by compiled kernels, against float64 recordings"
echo
"$tpac" check configs/t6-mini.json --model examples/t6/model
# The other two models are too large for the repository.
models=../shared/models
for model in t6-mini-kvonly llama-mini-gqa; do
  if [ -f "$models/$model.safetensors" ]; then
    echo
    "$tpac" check "configs/$model.json" --model "$models"
  else
    echo
    echo "($model: $models/$model.safetensors is not there; left out)"
  fi
done

echo
echo "2. A kernel pack of a published model's attention, and a C program that links it (statically, then shared)"
echo
"$tpac" build configs/t6-medium.json --target host -o "$work/pack"
echo
ldd "$work/pack/lib/libt6_medium.so"
echo
make --silent --no-print-directory -C examples/c PACK="$work/pack" OUT="$work/example" check
