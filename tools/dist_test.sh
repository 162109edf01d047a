#!/usr/bin/env bash
# Measure a checkpoint with several processes:
#
#   tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [arguments of tools/test.py]
#
# PROCESSES, NNODES, NODE_RANK, MASTER_ADDR and PORT are as in dist_train.sh.
set -euo pipefail
[ $# -ge 3 ] || { sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2; }
CONFIG=$1 CHECKPOINT=$2 PROCESSES=$3
shift 3
source "$(dirname "${BASH_SOURCE[0]}")/torchrun.sh"
run_torch "$PROCESSES" test.py "$CONFIG" "$CHECKPOINT" --launcher pytorch "$@"
