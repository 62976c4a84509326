"""Run with: pytest tests/engine/test_launch.py"""

from __future__ import annotations

import os
import stat

import pytest

from mmdet_lite.engine.launch import Launch, find_launch, launch_name, restarted_launch

TORCHRUN = {
    "RANK": "3",
    "LOCAL_RANK": "1",
    "WORLD_SIZE": "4",
    "MASTER_ADDR": "node0",
    "MASTER_PORT": "29500",
}
SLURM = {"SLURM_PROCID": "9", "SLURM_LOCALID": "1", "SLURM_NTASKS": "16", "SLURM_JOB_ID": "123456"}


def test_a_process_that_nothing_launched_is_alone():
    assert find_launch(None, {}) is None
    assert find_launch("none", {}) is None


@pytest.mark.parametrize("launcher", [None, "pytorch"])
def test_torchruns_environment_gives_the_place(launcher):
    assert find_launch(launcher, TORCHRUN) == Launch(3, 1, 4, "node0", 29500)


def test_the_pytorch_launcher_needs_torchrun():
    with pytest.raises(ValueError, match=r"not started by torchrun \(RANK, LOCAL_RANK, .* not set"):
        find_launch("pytorch", {})


def test_torchruns_processes_cannot_train_each_for_itself():
    with pytest.raises(ValueError, match="torchrun started 4 processes, which would all write"):
        find_launch("none", TORCHRUN)
    assert find_launch("none", TORCHRUN | {"RANK": "0", "WORLD_SIZE": "1"}) is None


def test_slurms_environment_gives_the_place_and_the_job_the_port():
    env = SLURM | {"SLURM_STEP_NODELIST": "gpu7"}
    assert find_launch("slurm", env) == Launch(9, 1, 16, "gpu7", 23456)
    env |= {"MASTER_ADDR": "other", "MASTER_PORT": "1234"}
    assert find_launch("slurm", env) == Launch(9, 1, 16, "other", 1234)


def test_scontrol_tells_the_first_of_several_hosts(tmp_path, monkeypatch):
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(
        '#!/bin/sh\n[ "$*" = "show hostnames gpu[07-09]" ] && printf "gpu07\\ngpu08"'
    )
    scontrol.chmod(scontrol.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert find_launch("slurm", SLURM | {"SLURM_STEP_NODELIST": "gpu[07-09]"}).address == "gpu07"
    with pytest.raises(ValueError, match=r"first host of 'gpu\[1-2\]' .*; set MASTER_ADDR"):
        find_launch("slurm", SLURM | {"SLURM_STEP_NODELIST": "gpu[1-2]"})


def test_the_slurm_launcher_needs_srun():
    with pytest.raises(ValueError, match=r"not started by srun \(SLURM_PROCID, .* not set\): bash"):
        find_launch("slurm", {})


def test_forgetting_the_slurm_launcher_is_noticed():
    with pytest.raises(ValueError, match="srun started 16 of these .* add --launcher slurm"):
        find_launch(None, SLURM)
    assert find_launch(None, SLURM | {"SLURM_PROCID": "0"}) is None, "a batch script has this"


def test_a_restart_is_known_by_its_count():
    assert not restarted_launch({})
    assert not restarted_launch({"TORCHELASTIC_RESTART_COUNT": "0"})
    assert restarted_launch({"TORCHELASTIC_RESTART_COUNT": "1"})
    assert restarted_launch({"SLURM_RESTART_COUNT": "2"})


def test_restarts_of_a_launch_share_its_name():
    assert launch_name({"SLURM_JOB_ID": "7"}) == "slurm job 7"
    assert launch_name({"TORCHELASTIC_RUN_ID": "night"}) == "torchrun night"
    own = launch_name({"TORCHELASTIC_RUN_ID": "none"})
    assert own == launch_name({}) and str(os.getppid()) in own
