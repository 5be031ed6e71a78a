#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Many questions on many machines by GNU parallel: one at a time on each machine, records brought back and merged.
#
#   parallel.sh hosts.txt tpac-records.json decode/cached:8192 configs/*.json
#
# hosts.txt: a machine a line, as parallel's --sshloginfile takes it (":" is this one); tpac is there, and the folder of
# the variants. TPAC_TUNE holds further options of tpac tune. A machine that is lost costs its question alone.
set -euo pipefail

hosts=$1
records=$2
shape=$3
shift 3
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# Each job prints its records; files of their own, since machines share no disk.
parallel --sshloginfile "$hosts" --jobs 1 --workdir . --results "$folder" --joblog "$records.jobs" \
  'file=$(mktemp) && tpac tune {} --shape '"$shape"' --records "$file" '"${TPAC_TUNE:-}"' >&2 && cat "$file"' ::: "$@" \
  >/dev/null || echo "parallel.sh: some questions failed; $records.jobs names them" >&2
find "$folder" -name stdout -size +0 -print0 | xargs -0 tpac records merge --into "$records"
