#!/usr/bin/env bash
# Train on a SLURM cluster, one process a GPU. See docs/distributed.md.

usage="usage: bash tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [arguments of tools/train.py]
environment:
  GPUS           processes in all; default 8
  GPUS_PER_NODE  default 8, or GPUS if that is less
  CPUS_PER_TASK  cores a process; default 5
  SRUN_ARGS      more arguments of srun"

source "$(dirname "${BASH_SOURCE[0]}")/launch.sh"

require 4 "$@"
launch_srun "$1" "$2" "$tools/train.py" "$3" --work-dir="$4" --launcher=slurm "${@:5}"
