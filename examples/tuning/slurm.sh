#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# One search in parts, as a Slurm array: each task takes a node of its own, so that nothing else is timed along.
#
#   sbatch --array=1-8 slurm.sh configs/t6-medium.json decode/cached:8192
#   sbatch --dependency=afterok:ID --wrap 'tpac records merge --into tpac-records.json shard-*.json'
#
# Parts may come back in any order, and twice. Further arguments go to tpac tune (--effort full, --target sm_90a).
#SBATCH --nodes=1
#SBATCH --exclusive
#SBATCH --job-name=tpac-tune
set -euo pipefail

variant=$1
shape=$2
shift 2
tpac tune "$variant" --shape "$shape" --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" \
  --records "shard-$SLURM_ARRAY_TASK_ID.json" "$@"
