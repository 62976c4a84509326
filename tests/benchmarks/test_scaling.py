"""What is compared with what, and what follows from the times. No test here is about speed.

Run with: pytest tests/benchmarks/test_scaling.py
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import torch

from mmdet_lite.benchmarks.scaling import Contender, benchmark, list_contenders
from mmdet_lite.benchmarks.scaling_report import (
    communication_share,
    data_share,
    describe_rounds,
    imbalance_share,
    step_seconds,
    table,
)
from mmdet_lite.benchmarks.scaling_worker import Stepper, measure

TINY = Path(__file__).parents[1] / "apis/tiny_config.py"


def times(steps, pairs=None):
    return {
        "device": "CPU",
        "threads": 1,
        "gradient_bytes": 3_000_000,
        "steps": steps,
        "pairs": pairs or [[] for _ in steps],
    }


def option(command, name):
    return command[command.index(name) + 1]


@pytest.fixture
def launches(monkeypatch):
    """The commands and environments that were launched; each takes its processes' seconds."""
    calls = []

    def run(command, env, **_):
        calls.append((command, env))
        processes = int(option(command, "--nproc-per-node"))
        measured = times([[[0.0, 1.0 / processes]]] * processes, [[[0.3, 0.2]]] * processes)
        Path(option(command, "--worker")).write_text(json.dumps(measured))
        return subprocess.CompletedProcess(command, 0, stdout="")

    monkeypatch.setattr(subprocess, "run", run)
    return calls


def test_step_is_median_of_computing_and_mean_of_waiting():
    measured = times([[[0.0, 1.0], [0.6, 9.0], [0.0, 2.0]]])
    assert step_seconds(measured) == pytest.approx(2.2)


def test_slowest_process_makes_the_step():
    assert step_seconds(times([[[0.0, 1.0]], [[0.0, 1.5]]])) == 1.5


def test_data_share_is_that_of_the_process_that_waits_longest():
    measured = times([[[0.1, 0.9], [0.1, 0.9]], [[0.4, 0.6], [0.0, 1.0]]])
    assert data_share(measured) == pytest.approx(0.2)


def test_communication_is_what_the_slowest_process_takes_longer():
    """Batches take 1.0 and 3.0 s on the slower process without communication, 1.2 and 3.4 with."""
    pairs = [[[1.2, 0.5], [3.4, 3.0]], [[1.2, 1.0], [3.4, 1.0]]]
    measured = times([[[0.0, 3.0]], [[0.0, 3.0]]], pairs)
    assert communication_share(measured) == pytest.approx(0.1)


def test_imbalance_is_what_the_slowest_process_takes_longer_than_the_mean():
    """Alone, the processes take 1.0 and 3.0 s for the first batch, 2.0 and 2.4 s for the second."""
    pairs = [[[9.0, 1.0], [9.0, 2.4]], [[9.0, 3.0], [9.0, 2.0]]]
    measured = times([[[0.0, 4.0]], [[0.0, 4.0]]], pairs)
    assert imbalance_share(measured) == pytest.approx((1.0 + 0.2) / 2 / 4.0)


def test_single_process_waits_for_no_other():
    alone = times([[[0.0, 1.0]]])
    assert communication_share(alone) == imbalance_share(alone) == 0.0


def test_ratio_compares_within_rounds():
    """The machine is half as fast in the last round, which concerns both contenders."""
    one = [times([[[0.0, seconds]]]) for seconds in (1.0, 1.0, 2.0)]
    two = [times([[[0.0, s]]] * 2, [[[s, s]]] * 2) for s in (0.5, 0.8, 1.0)]
    first, second = describe_rounds([one, two], batch_size=4)
    assert (first["seconds"], first["seconds_range"]) == (1.0, [1.0, 2.0])
    assert first["images_per_second"] == 4.0
    assert (first["ratio"], second["ratio"]) == (1.0, 2.0)


def test_ring_all_reduce_sends_twice_all_parts_but_the_own():
    rounds = [[times([[[0.0, 1.0]]] * n, [[[1.0, 1.0]]] * n)] for n in (1, 2, 3)]
    sent = [figures["sent_bytes"] for figures in describe_rounds(rounds, batch_size=6)]
    assert sent == [0, 3_000_000, 4_000_000]


def test_settings_of_ddp_are_compared_only_where_there_are_several_processes():
    assert [c.name for c in list_contenders([1, 2], ddp_settings=False)] == [
        *("1 process", "2 processes")
    ]
    names = [c.name for c in list_contenders([1, 2], ddp_settings=True)]
    assert names[:3] == ["1 process", "2 processes", "2 processes, bucket_cap_mb=25"]
    assert "2 processes, static_graph=True" in names


def test_contenders_take_turns_and_share_batch_and_cores(tiny, launches, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("mmdet_lite.benchmarks.scaling.num_cores", lambda: 8)
    result = benchmark(tiny(), list_contenders([1, 2], False), batch_size=4, rounds=2)
    assert [option(command, "--nproc-per-node") for command, _ in launches] == ["1", "2"] * 2
    assert [env["OMP_NUM_THREADS"] for _, env in launches] == ["8", "4"] * 2
    assert [c["ratio"] for c in result["contenders"]] == [1.0, 2.0]
    assert result["contenders"][1]["communication"] == pytest.approx(0.2)
    assert len(result["contenders"][1]["rounds"]) == 2


def test_threads_that_the_user_chose_are_kept(tiny, launches, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    benchmark(tiny(), [Contender(2)], rounds=1)
    assert launches[0][1]["OMP_NUM_THREADS"] == "3"


def test_table_names_machine_and_figures(tiny, launches):
    text = table(benchmark(tiny(), list_contenders([1, 2], False), rounds=1, iters=7))
    heading, method, columns, one, two = text.splitlines()
    assert torch.__version__ in heading and "cores (load " in heading
    assert method.endswith("steps: 7 after 3 of warm-up")
    assert one.startswith("1 process ") and "1.000 (1.000..1.000)" in one
    assert two.split("  ")[0] == "2 processes" and two.endswith("3.0 MB")
    assert columns.index("communication") == two.index("20.0%")


def test_batch_that_cannot_be_shared_is_refused(tiny):
    with pytest.raises(ValueError, match="4 images a step cannot be shared equally by 3 or 5 proc"):
        benchmark(tiny(), [Contender(n) for n in (1, 5, 3)], batch_size=4)


@pytest.mark.parametrize("value", [None, 0, "4"])
def test_batch_size_that_is_no_number_is_refused(tiny, value):
    with pytest.raises(ValueError, match=f"batch_size is {value!r}, .* or give --batch-size"):
        benchmark(tiny({"train_data.batch_size": value}), [Contender(1)])


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("w\n\nerror: a\nb\n(for the traceback set X=1)\nE torch", "1 process failed: a\nb"),
        ("\nerror on rank 1: a\n(for the traceback set X=1)\n", "1 process failed: a"),
        ("Killed\n", "1 process failed: it printed\nKilled"),
    ],
)
def test_failure_of_a_process_is_told_in_its_own_words(tiny, monkeypatch, output, message):
    failed = subprocess.CompletedProcess([], 1, stdout=output)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(ChildProcessError) as caught:
        benchmark(tiny(), [Contender(1)])
    assert str(caught.value) == message


def test_single_process_measures_steps_and_no_pairs(tiny, tmp_path):
    measure(tiny(), iters=2, warmup=1, ddp={}, out=tmp_path / "times.json")
    measured = json.loads((tmp_path / "times.json").read_text())
    assert torch.tensor(measured["steps"]).shape == (1, 2, 2)
    assert all(busy > waited > 0 for waited, busy in measured["steps"][0])
    assert measured["pairs"] == [[]]


def test_steps_train_and_pairs_leave_the_weights_alone(tiny):
    stepper = Stepper(tiny(), ddp={})
    weight = stepper.model.backbone.conv1.weight
    before = weight.detach().clone()
    stepper.time_pair(sync_first=False)
    assert weight.equal(before) and weight.grad is None
    stepper.time_step()
    assert not weight.equal(before)


def test_frozen_weights_have_no_gradient_to_send(tiny):
    stepper = Stepper(tiny({"model.backbone.frozen_stages": 0}), ddp={})
    stem = 8 * 3 * 7 * 7 + 8 + 8  # its convolution, and its normalisation's weight and bias
    everything = sum(p.numel() for p in stepper.model.parameters())
    assert stepper.gradient_bytes == 4 * (everything - stem)


def test_loss_that_is_not_finite_ends_the_measurement(tiny):
    stepper = Stepper(tiny(), ddp={})
    with torch.no_grad():
        stepper.model.neck.fpn_convs[0].conv.weight.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="'loss_rpn_cls': nan.*lower optimizer.lr"):
        stepper.time_step()


def test_two_processes_are_measured_from_the_command_line(run_cli, tmp_path):
    out = tmp_path / "new" / "times.json"
    result = run_cli(
        *(
            "benchmark",
            "scaling",
            TINY,
            "--processes",
            2,
            "--rounds",
            1,
            "--iters",
            2,
            "--warmup",
            1,
        ),
        *("--cfg-options", "train.accumulate=4", "--out", out),
    )
    assert result.code == 0, result.err
    assert "mmdet_lite 0" in result.out and "\n2 processes  2 " in result.out
    contender = json.loads(out.read_text())["contenders"][0]
    measured = contender["rounds"][0]
    assert (
        torch.tensor(measured["steps"]).shape == torch.tensor(measured["pairs"]).shape == (2, 2, 2)
    )
    assert contender["sent_bytes"] == contender["gradient_bytes"] > 0
