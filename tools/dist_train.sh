#!/usr/bin/env bash
# Train in several processes, one a GPU, on one machine or several. See docs/distributed.md.

usage="usage: bash tools/dist_train.sh CONFIG GPUS [arguments of tools/train.py]
environment:
  NNODES, NODE_RANK, MASTER_ADDR  several machines: how many, this one's number, the address of 0
  PORT                            port of MASTER_ADDR; default 29500, on one machine a free one
  MAX_RESTARTS                    how often a run that failed is started again; default 0
  OMP_NUM_THREADS                 threads of a process; default: cores / GPUS"

source "$(dirname "${BASH_SOURCE[0]}")/launch.sh"

require 2 "$@"
launch_torchrun "$2" "$tools/train.py" "$1" --launcher pytorch "${@:3}"
