"""Training, and what is done about a run: train, test, demo, replay-batch, analyze-logs.

Heavy imports happen inside the functions, after what can be checked without them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmdet_lite.arguments import add_config, add_launcher, add_options, log_to_console, positive
from mmdet_lite.commands.command import Command

_NOT_REPRODUCED = 3  # exit code of replay-batch


def _train_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument(
        "--work-dir",
        help="folder for everything the run writes; default: the config's, or "
        "work_dirs/NAME_OF_CONFIG",
    )
    parser.add_argument(
        "--resume",
        nargs="?",
        const=True,
        default=False,
        metavar="PATH",
        help="continue from the newest good checkpoint in the work dir, or from PATH",
    )
    parser.add_argument(
        "--amp",
        action="store_true",
        help="mixed precision: bf16 where the GPU has it (and on CPU), else fp16",
    )
    parser.add_argument(
        "--auto-scale-lr",
        action="store_true",
        help="scale the learning rate to the actual batch size",
    )
    parser.add_argument("--seed", type=int, help="seed of everything random; default: the config's")
    add_launcher(parser)


def _train(args: argparse.Namespace) -> None:
    from mmdet_lite.apis.config import load_config, read_timeout, read_work_dir

    cfg = load_config(args.config, args.cfg_options)
    if args.seed is not None:
        cfg.seed = args.seed
    if args.auto_scale_lr:
        cfg.merge_from_dict({"auto_scale_lr.enable": True})
    if args.amp:
        import torch

        has_bf16 = not torch.cuda.is_available() or torch.cuda.is_bf16_supported(False)
        cfg.merge_from_dict({"train.precision": "bf16" if has_bf16 else "fp16"})

    from mmdet_lite.apis.train import train
    from mmdet_lite.engine.distributed import processes

    with processes(args.launcher, read_timeout(cfg)):
        work_dir = args.work_dir or read_work_dir(cfg) or Path("work_dirs") / Path(args.config).stem
        resume = True if args.resume == "auto" else args.resume  # as MMDetection says it
        train(cfg, work_dir, resume or cfg.get("resume", False))


def _test_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("checkpoint", help="checkpoint file, or zoo:NAME")
    parser.add_argument(
        "--work-dir",
        metavar="DIR",
        help="write the metrics to DIR/metrics.json; a report shows the training log there, or "
        "else that beside the checkpoint",
    )
    parser.add_argument("--out-metrics", metavar="FILE", help="write the metrics as JSON")
    parser.add_argument(
        "--out",
        metavar="PREFIX",
        help="write the detections in COCO's results format: PREFIX.bbox.json, PREFIX.segm.json",
    )
    parser.add_argument("--show-dir", metavar="DIR", help="save pictures of truth and prediction")
    parser.add_argument(
        "--show-num", type=positive, default=50, help="how many pictures at most (50)"
    )
    parser.add_argument(
        "--show-score-thr",
        type=float,
        default=0.3,
        help="draw detections from this score on; a report judges images at it (0.3)",
    )
    parser.add_argument(
        "--report",
        metavar="DIR",
        help="write DIR/report.html, a page to look at: curves, errors, confusions, pictures",
    )
    parser.add_argument(
        "--compare",
        metavar="OTHER",
        help="show another run beside this one in the report: the folder of its report, or its "
        "detections as --out writes them (the file or the PREFIX)",
    )
    parser.add_argument(
        "--tta",
        action="store_true",
        help="test-time augmentation: show the model every image several times, by the config's "
        "section tta; default: as it is and mirrored",
    )
    add_launcher(parser)


def _test(args: argparse.Namespace) -> None:
    from mmdet_lite.apis.config import load_config, read_timeout

    cfg = load_config(args.config, args.cfg_options)
    from mmdet_lite.apis.test import test
    from mmdet_lite.engine.distributed import is_main, processes

    with processes(args.launcher, read_timeout(cfg)):
        if is_main():
            log_to_console()
        test(
            cfg,
            args.checkpoint,
            args.out_metrics or (args.work_dir and Path(args.work_dir) / "metrics.json"),
            args.out,
            args.show_dir,
            args.show_num,
            args.show_score_thr,
            args.tta,
            args.report,
            args.compare,
            args.work_dir,
        )


def _demo_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--work-dir", default="work_dirs/demo")
    add_options(parser)


def _demo(args: argparse.Namespace) -> None:
    from mmdet_lite.apis.config import load_config
    from mmdet_lite.apis.demo import CONFIG, demo

    demo(load_config(CONFIG, args.cfg_options), args.work_dir)


def _replay_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("batch", help="batch_rank_<r>.pth that a run left in nonfinite_iter_<n>")
    parser.add_argument(
        "--weights", metavar="FILE", help="weights before the step; default: weights.pth beside it"
    )
    parser.add_argument(
        "--precision", choices=["float32", "bf16", "fp16"], help="default: that of the run"
    )
    parser.add_argument("--show-dir", metavar="DIR", help="save the batch's pictures")


def _replay(args: argparse.Namespace) -> None:
    from mmdet_lite.apis.config import load_config

    cfg = load_config(args.config, args.cfg_options)
    from mmdet_lite.apis.replay import replay
    from mmdet_lite.apis.replay_report import report

    result = replay(cfg, args.batch, args.weights, args.precision, args.show_dir)
    print(report(result))
    if not result.not_finite:
        sys.exit(_NOT_REPRODUCED)


def _logs_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="work dir of a run of this package or of MMDetection 3.x, or its log file",
    )
    parser.add_argument(
        "--keys",
        nargs="+",
        metavar="KEY",
        help="figures to look at (loss_cls, bbox_mAP_50, lr); default: all losses, and each mAP; "
        "curves: loss and each mAP",
    )
    parser.add_argument("--out", metavar="FILE", help="draw the curves, runs over one another")
    parser.add_argument("--json", action="store_true", help="print JSON, not a table")


def _logs(args: argparse.Namespace) -> None:
    from mmdet_lite.apis.analyze_logs import analyze_logs
    from mmdet_lite.apis.run_logs import read_runs

    print(analyze_logs(read_runs(args.runs), args.keys, args.out, args.json))


COMMANDS = {
    "train": Command("Train a detector from a config.", _train_arguments, _train),
    "test": Command("Evaluate a checkpoint.", _test_arguments, _test),
    "demo": Command(
        "Train and evaluate a Mask R-CNN on shapes, in minutes.", _demo_arguments, _demo
    ),
    "replay-batch": Command(
        "Run a batch again whose loss was not finite.", _replay_arguments, _replay
    ),
    "analyze-logs": Command("Compare runs by their logs.", _logs_arguments, _logs),
}
