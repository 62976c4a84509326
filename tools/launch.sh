# Sourced by the scripts beside it: how dist_*.sh and slurm_*.sh start processes.
# They set `usage`; docs/distributed.md describes the environment variables.

set -euo pipefail

tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHONPATH="${tools%/*}${PYTHONPATH:+:$PYTHONPATH}"

# fail MESSAGE: say it, and how the script is used.
fail() {
    printf '%s\n' "$@" "$usage" >&2
    exit 2
}

# require NUMBER [ARGUMENT...]: there are at least so many arguments.
require() {
    (($# - 1 >= $1)) || fail "expected at least $1 arguments, found $(($# - 1))"
}

# require_number NAME VALUE LEAST: the value is a whole number from LEAST on.
require_number() {
    [[ $2 =~ ^[0-9]+$ ]] && (($2 >= $3)) || fail "$1: expected a number from $3 on, found '$2'"
}

# Threads for each of so many processes. torchrun's default of 1 is slow on a CPU.
threads_for() {
    local cores
    cores=$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
    echo $((cores > $1 ? cores / $1 : 1))
}

# How torchrun's processes find each other; sets `rendezvous`.
choose_rendezvous() {
    local restarts=$1 nodes=${NNODES:-1} port=${PORT:-29500}
    require_number NNODES "$nodes" 1
    if ((nodes > 1)) && [[ -z ${MASTER_ADDR:-} || -z ${NODE_RANK:-} ]]; then
        fail "NNODES=$nodes: set NODE_RANK to this node's number, 0 to $((nodes - 1)), and" \
            "MASTER_ADDR to the address of the node whose number is 0"
    fi
    if ((nodes == 1)) && [[ -z ${PORT:-} ]]; then
        # a free port, so that two runs on a machine do not collide
        rendezvous=(--standalone --local-addr 127.0.0.1)
        return
    fi
    local address=${MASTER_ADDR:-127.0.0.1} node=${NODE_RANK:-0}
    rendezvous=(--nnodes "$nodes")
    if ((restarts == 0)); then
        rendezvous+=(--node-rank "$node" --master-addr "$address" --master-port "$port")
    else
        # only this kind brings several nodes together again; it numbers them itself
        rendezvous+=(--rdzv-backend c10d --rdzv-endpoint "$address:$port")
        rendezvous+=(--rdzv-conf "is_host=$((node == 0))")
    fi
}

# launch_torchrun PROCESSES SCRIPT [ARGUMENT...]: does not return.
launch_torchrun() {
    local processes=$1 restarts=${MAX_RESTARTS:-0} rendezvous
    shift
    require_number GPUS "$processes" 1
    require_number MAX_RESTARTS "$restarts" 0
    choose_rendezvous "$restarts"
    export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(threads_for "$processes")}
    # Else SIGUSR1 ends torchrun alone, and what it started runs on. Old versions do not read this.
    export PET_SIGNALS_TO_HANDLE=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1
    exec torchrun --nproc-per-node "$processes" --max-restarts "$restarts" \
        "${rendezvous[@]}" "$@"
}

# launch_srun PARTITION JOB_NAME SCRIPT [ARGUMENT...]: does not return.
launch_srun() {
    local gpus=${GPUS:-8} partition=$1 job_name=$2 extra
    shift 2
    require_number GPUS "$gpus" 1
    local gpus_per_node=${GPUS_PER_NODE:-$((gpus < 8 ? gpus : 8))}
    read -r -a extra <<<"${SRUN_ARGS:-}" || true
    exec srun --partition="$partition" --job-name="$job_name" --gres="gpu:$gpus_per_node" \
        --ntasks="$gpus" --ntasks-per-node="$gpus_per_node" \
        --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 \
        ${extra[@]+"${extra[@]}"} python -u "$@"
}
