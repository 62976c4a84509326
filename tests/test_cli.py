"""The command line: help without heavy imports, options, what a mistake looks like."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

from mmdet_lite import __version__
from mmdet_lite.cli import COMMANDS, main

SUBCOMMANDS = {"check_dataset": "doctor"}  # of tools with another name than theirs
ROOT = Path(__file__).parents[1]
TINY = ROOT / "tests/apis/tiny_config.py"
HEAVY = ("torch", "torchvision", "mmengine", "mmcv", "cv2", "numpy", "matplotlib")


def python(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)


def option_values(run_cli, *pairs):
    result = run_cli("print-config", TINY, "--cfg-options", *pairs)
    assert result.code == 0, result.err
    return Config.fromstring(result.out, ".py")


@pytest.fixture
def calls(monkeypatch):
    """What ``train`` was called with, in place of training."""
    received = []
    monkeypatch.setattr("mmdet_lite.apis.train.train", lambda *given: received.append(given))
    return received


def test_help_of_every_command_imports_nothing_heavy():
    code = (
        "import sys\nfrom mmdet_lite.cli import COMMANDS, main\n"
        "for arguments in (['--help'], *([name, '--help'] for name in COMMANDS)):\n"
        "    try: main(argv=arguments)\n"
        "    except SystemExit as exit: assert exit.code == 0\n"
        f"heavy = [name for name in {HEAVY} if name in sys.modules]\n"
        "assert not heavy, heavy\n"
    )
    done = python(code)
    assert done.returncode == 0, done.stderr
    assert all(command.summary in done.stdout for command in COMMANDS.values())


def test_package_imports_nothing_heavy():
    done = python(f"import sys, mmdet_lite; print([n for n in {HEAVY} if n in sys.modules])")
    assert done.stdout.strip() == "[]"


def test_config_is_read_and_data_examined_without_torch(tmp_path):
    image = {"id": 1, "file_name": "a.jpg", "width": 64, "height": 64}
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [8, 8, 32, 16], "area": 512}
    categories = [{"id": 1, "name": "cat"}]
    content = {"images": [image], "annotations": [box | {"iscrowd": 0}], "categories": categories}
    (tmp_path / "a.json").write_text(json.dumps(content))
    options = [f"train_data.dataset.ann_file={tmp_path}/a.json", "val_data=None", "test_data=None"]
    arguments = ["doctor", "faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py", "--cfg-options", *options]
    code = (
        "import sys\nfrom mmdet_lite.cli import main\n"
        f"try: main(argv={arguments})\n"
        "except SystemExit: assert 'torch' not in sys.modules\n"
    )
    done = python(code)
    assert done.returncode == 0, done.stderr
    assert "boxes that no anchor matches" in done.stdout


def test_mistakes_outside_of_the_model_are_told_before_it_is_imported(tmp_path):
    # torchvision, which the models bring, takes as long to import as torch
    train = ["train", str(TINY), "--work-dir", str(tmp_path / "run"), "--cfg-options"]
    checkpoint = str(tmp_path / "missing.pth")
    infer = ["infer", checkpoint, str(ROOT / "docs/images/infer_shapes.jpg")]
    mistakes = [
        ([*train, "train.max_iter=1"], "unknown 'max_iter' (did you mean 'max_iters'?)"),
        ([*train, "optimizer.lrr=1"], "AdamW: unknown argument 'lrr' (did you mean 'lr'?)"),
        ([*train, "optimizer.lr=-1"], "config: optimizer.lr must be 0 or above, got -1"),
        ([*train, "schedule.gama=1"], "OneCycleSchedule: unknown argument 'gama'"),
        ([*train, "load_from=missing"], "load_from 'missing' does not exist"),
        ([*train, "val_data.dataset.num=1"], "ShapesDataset: unknown argument 'num'"),
        ([*train, "metric.metric=1"], "unknown argument 'metric' (did you mean 'metrics'?)"),
        (["test", str(TINY), checkpoint], f"checkpoint {checkpoint!r} does not exist"),
        ([*infer, "--out", str(tmp_path / "out")], f"checkpoint {checkpoint!r} does not exist"),
    ]
    code = (
        "import sys\nfrom mmdet_lite.cli import main\n"
        f"for arguments in {[arguments for arguments, _ in mistakes]}:\n"
        "    try: main(argv=arguments)\n"
        "    except SystemExit: assert 'torchvision' not in sys.modules, arguments\n"
    )
    done = python(code)
    assert done.returncode == 0, done.stderr
    errors = done.stderr.split("\nerror: ")[1:]
    assert len(errors) == len(mistakes)
    for (_, expected), error in zip(mistakes, errors, strict=True):
        assert expected in error


@pytest.mark.parametrize("file", sorted(path.name for path in (ROOT / "tools").glob("*.py")))
def test_help_of_a_tool_is_that_of_its_subcommand_and_imports_nothing_heavy(file):
    code = (
        f"import runpy, sys\nsys.argv = [{file!r}, '--help']\n"
        f"try: runpy.run_path('tools/{file}', run_name='__main__')\n"
        "except SystemExit as exit: assert exit.code == 0\n"
        f"heavy = [name for name in {HEAVY} if name in sys.modules]\n"
        "assert not heavy, heavy\n"
    )
    done = python(code)
    assert done.returncode == 0, done.stderr
    name = file.removesuffix(".py")
    summary = COMMANDS[SUBCOMMANDS.get(name, name.replace("_", "-"))].summary
    assert summary in done.stdout and f"usage: {file}" in done.stdout


def test_tool_runs_as_a_script():
    command = [sys.executable, "tools/print_config.py", str(TINY), "--cfg-options", "seed=8"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert Config.fromstring(done.stdout, ".py").seed == 8


def test_every_subcommand_has_a_tool():
    tools = {path.stem for path in (ROOT / "tools").glob("*.py")}
    assert {SUBCOMMANDS.get(name, name.replace("_", "-")) for name in tools} == set(COMMANDS)


def test_package_runs_as_a_module():
    command = [sys.executable, "-m", "mmdet_lite", "--version"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, __version__)


def test_train_has_the_flags_that_users_of_mmdetection_know(run_cli):
    text = run_cli("train", "--help").out
    for flag in (
        *("--work-dir", "--resume", "--amp", "--auto-scale-lr", "--seed", "--cfg-options"),
        "--launcher {none,pytorch,slurm}",
    ):
        assert flag in text
    text = run_cli("test", "--help").out
    for flag in ("--out-metrics", "--out ", "--show-dir", "--cfg-options"):
        assert flag in text


def test_printed_config_is_resolved_and_is_a_config(run_cli):
    cfg = option_values(run_cli, "optimizer.lr=0.5")
    assert cfg.optimizer.lr == 0.5
    assert cfg.model.backbone == dict(
        type="ResNet", depth=18, base_channels=8, pretrained=None, frozen_stages=-1, norm_eval=False
    )
    assert "_base_" not in cfg


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("True", True),
        ("None", None),
        ("[1,2]", [1, 2]),
        ("(667,400)", (667, 400)),
        ("[bbox,segm]", ["bbox", "segm"]),
        ("text", "text"),
        ("a=b", "a=b"),
        ("{'path': 'x.pth', 'match_classes': True}", {"path": "x.pth", "match_classes": True}),
        ("[{'type': 'Pad'}]", [{"type": "Pad"}]),
    ],
)
def test_option_values_are_read(run_cli, text, value):
    assert option_values(run_cli, f"load_from={text}").load_from == value


def test_options_reach_into_lists(run_cli):
    cfg = option_values(
        run_cli, "train_data.dataset.pipeline.0.prob=0.25", "metric.metrics.1=proposal"
    )
    assert cfg.train_data.dataset.pipeline == [{"type": "RandomFlip", "prob": 0.25}]
    assert cfg.metric.metrics == ["bbox", "proposal"]


def test_options_given_twice_add_up(run_cli):
    result = run_cli(
        *("print-config", TINY, "--cfg-options", "seed=3", "train.max_iters=9"),
        *("--cfg-options", "seed=4"),
    )
    cfg = Config.fromstring(result.out, ".py")
    assert (cfg.seed, cfg.train.max_iters) == (4, 9)


@pytest.mark.parametrize("pair", ["seed", "=3", "seed 3"])
def test_option_without_key_or_value_is_explained(run_cli, pair):
    result = run_cli("print-config", TINY, "--cfg-options", pair)
    assert result.code == 2
    assert f"--cfg-options: expected KEY=VALUE, got {pair!r}" in result.err


def test_option_value_that_cannot_be_read_is_named(run_cli):
    result = run_cli("print-config", TINY, "--cfg-options", "load_from={'path': ")
    assert result.code == 2
    assert "--cfg-options load_from: cannot read the value \"{'path': \"" in result.err


def test_flags_change_the_config(run_cli, calls):
    result = run_cli(
        *("train", TINY, "--seed", 7, "--amp", "--auto-scale-lr", "--work-dir", "w", "--resume"),
    )
    assert result.code == 0, result.err
    cfg, work_dir, resume = calls[0]
    assert (cfg.seed, cfg.auto_scale_lr.enable) == (7, True)
    assert cfg.train.precision in ("bf16", "fp16")
    assert (work_dir, resume) == ("w", True)


def test_work_dir_is_named_after_the_config(run_cli, calls):
    run_cli("train", TINY, "--resume", "some.pth")
    assert calls[0][1:] == (Path("work_dirs/tiny_config"), "some.pth")
    assert not {"seed", "auto_scale_lr"} & set(calls[0][0]) and "precision" not in calls[0][0].train


@pytest.mark.parametrize("command", [["train", TINY], ["test", TINY, "weights.pth"]])
@pytest.mark.parametrize("launcher", ["pytorch", "slurm"])
def test_a_launcher_that_did_not_launch_is_refused(cli_error, calls, command, launcher):
    program = {"pytorch": "torchrun", "slurm": "srun"}[launcher]
    message = cli_error(*command, "--launcher", launcher)
    expected = f"--launcher {launcher}, but this process was not started by {program} ("
    assert message.startswith(expected)
    assert not calls


def test_traceback_is_shown_where_asked_for(monkeypatch):
    monkeypatch.setenv("MMDET_LITE_TRACEBACK", "1")
    with pytest.raises(FileNotFoundError, match="no config file 'nothing.py'"):
        main("print-config", ["nothing.py"])


def test_error_of_a_worker_process_is_shown_without_its_traceback(cli_error, monkeypatch):
    def fail(*given):
        raise ValueError(
            "Caught ValueError in DataLoader worker process 0.\n"
            "Original Traceback (most recent call last):\n  File ...\n"
            "ValueError: image id 3: bad\nsecond line"
        )

    monkeypatch.setattr("mmdet_lite.apis.train.train", fail)
    assert cli_error("train", TINY) == "image id 3: bad\nsecond line"


def test_interruption_has_its_own_exit_code(run_cli, monkeypatch):
    def interrupt(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr("mmdet_lite.apis.train.train", interrupt)
    assert run_cli("train", TINY).code == 130


def test_browse_dataset_writes_pictures(run_cli, tmp_path):
    result = run_cli("browse-dataset", TINY, "--out-dir", tmp_path, "--num", 3, "--split", "val")
    assert result.out.strip().endswith(f"wrote 3 pictures to {tmp_path}")
    assert len(list(tmp_path.glob("val_*.png"))) == 3


def test_unknown_command_lists_the_known(run_cli):
    result = run_cli("trian")
    assert result.code == 2
    assert "invalid choice: 'trian'" in result.err and "browse-dataset" in result.err


@pytest.fixture(autouse=True)
def _log_level():
    """Commands turn the log on for their process; here the process goes on."""
    level = logging.getLogger("mmdet_lite").level
    yield
    logging.getLogger("mmdet_lite").setLevel(level)


def test_a_reader_that_has_read_enough_is_no_error():
    config = "configs/demo/mask-rcnn_r18_fpn_shapes.py"
    command = [sys.executable, "-m", "mmdet_lite", "print-config", config]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()  # before anything is written
    assert process.stderr.read() == b""
    assert process.wait() == 141
