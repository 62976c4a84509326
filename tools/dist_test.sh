#!/usr/bin/env bash
# Evaluate a checkpoint in several processes, one a GPU. See docs/distributed.md.

usage="usage: bash tools/dist_test.sh CONFIG CHECKPOINT GPUS [arguments of tools/test.py]
environment: NNODES, NODE_RANK, MASTER_ADDR, PORT, MAX_RESTARTS and OMP_NUM_THREADS, as for
  tools/dist_train.sh"

source "$(dirname "${BASH_SOURCE[0]}")/launch.sh"

require 3 "$@"
launch_torchrun "$3" "$tools/test.py" "$1" "$2" --launcher pytorch "${@:4}"
