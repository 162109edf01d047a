# Sourced by dist_train.sh and dist_test.sh: start a tool once per process.

# run_torch PROCESSES TOOL [arguments]
run_torch() {
    local processes=$1 tool=$2 cores
    shift 2
    cores=$(getconf _NPROCESSORS_ONLN)
    # Processes on one machine share its cores; torch alone would take all in each.
    export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((cores > processes ? cores / processes : 1))}
    "${PYTHON:-python}" -m torch.distributed.run \
        --nnodes "${NNODES:-1}" \
        --node-rank "${NODE_RANK:-0}" \
        --master-addr "${MASTER_ADDR:-127.0.0.1}" \
        --master-port "${PORT:-29500}" \
        --nproc-per-node "$processes" \
        "$(dirname "${BASH_SOURCE[0]}")/$tool" "$@"
}
