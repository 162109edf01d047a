#!/usr/bin/env bash
# Train with several processes on this machine, or on each of several:
#
#   tools/dist_train.sh CONFIG PROCESSES [arguments of tools/train.py]
#
# PROCESSES is the number of GPUs to use here; on a machine without one, of CPU
# processes. For several machines, run it on each with NNODES, NODE_RANK and the
# first machine's MASTER_ADDR set. PORT must be free on the first.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2; }
CONFIG=$1 PROCESSES=$2
shift 2
source "$(dirname "${BASH_SOURCE[0]}")/torchrun.sh"
run_torch "$PROCESSES" train.py "$CONFIG" --launcher pytorch "$@"
