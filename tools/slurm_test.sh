#!/usr/bin/env bash
# Evaluate a checkpoint on a SLURM cluster, one process a GPU. See docs/distributed.md.

usage="usage: bash tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [arguments of tools/test.py]
environment: GPUS, GPUS_PER_NODE, CPUS_PER_TASK and SRUN_ARGS, as for tools/slurm_train.sh"

source "$(dirname "${BASH_SOURCE[0]}")/launch.sh"

require 4 "$@"
launch_srun "$1" "$2" "$tools/test.py" "$3" "$4" --launcher=slurm "${@:5}"
