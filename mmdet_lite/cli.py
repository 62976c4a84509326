"""The command line. Every subcommand is a few arguments and one call of ``mmdet_lite.apis``.

Heavy imports happen inside the functions, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmdet_lite.arguments import add_config, add_launcher, add_options, log_to_console, positive
from mmdet_lite.benchmarks import cli as benchmarks

_TRACEBACK = "MMDET_LITE_TRACEBACK"
_NOT_REPRODUCED = 3  # exit code of replay-batch
# Errors whose message says it all.
_EXPLAINED = (
    ImportError,
    OSError,
    ValueError,
    TypeError,
    KeyError,
    FloatingPointError,
    MemoryError,
)


@dataclass
class Command:
    """A subcommand: what it is for, its arguments, what it does; its exit code after an error."""

    summary: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], None]
    failure: int = 1


def main(command: str | None = None, argv: Sequence[str] | None = None) -> None:
    """Run a subcommand.

    Args:
        command: its name; None: the first argument names it.
        argv: arguments; None: those of the process.
    """
    if command is not None:
        parser = argparse.ArgumentParser(description=COMMANDS[command].summary, allow_abbrev=False)
        COMMANDS[command].add_arguments(parser)
        args = parser.parse_args(argv)
    else:
        args = _parser().parse_args(argv)
        command = args.command
    try:
        COMMANDS[command].run(args)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # of `... | head`, which has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except _EXPLAINED as error:
        if os.environ.get(_TRACEBACK):
            raise
        _report(error)
        sys.exit(COMMANDS[command].failure)


def _report(error: Exception) -> None:
    rank = int(os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or 0)
    if rank > 0:
        # As a rule the main process has the same to say; then torchrun ends this one before it
        # repeats it.
        time.sleep(2)
    title = f"error on rank {rank}" if rank > 0 else "error"
    hint = f"(for the traceback set {_TRACEBACK}=1)"
    print(f"\n{title}: {_message(error)}\n{hint}", file=sys.stderr)


def _message(error: Exception) -> str:
    """What an error says, without the quotes of a KeyError or a worker process's traceback."""
    message = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    if "in DataLoader worker process" in message:
        message = message.rpartition(f"\n{type(error).__name__}: ")[2]
    return message.strip() or type(error).__name__


def _parser() -> argparse.ArgumentParser:
    from mmdet_lite import __version__

    parser = argparse.ArgumentParser("mmdet-lite", description="Object detection from configs.")
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        sub = subparsers.add_parser(name, help=command.summary, description=command.summary)
        command.add_arguments(sub)
    return parser


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
    from mmdet_lite.apis.test import test
    from mmdet_lite.engine.distributed import is_main, processes

    cfg = load_config(args.config, args.cfg_options)
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


def _infer_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", help="checkpoint file with its config in it, or zoo:NAME")
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="image, video, folder of them, pattern in quotes ('photos/**/*.jpg'), camera: its "
        "number or /dev/videoN",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for what is written")
    parser.add_argument(
        "--json", action="store_true", help="write all detections to DIR/detections.json, as COCO"
    )
    parser.add_argument(
        "--score", type=float, default=0.3, help="leave out detections below this score (0.3)"
    )
    parser.add_argument(
        "--max-detections", type=positive, metavar="N", help="at most so many an image, the best"
    )
    parser.add_argument("--batch", type=positive, default=1, help="images at once (1)")
    parser.add_argument("--device", help="cpu, cuda, cuda:1; default: the GPU if there is one")
    parser.add_argument("--precision", choices=["float32", "bf16", "fp16"], default="float32")
    parser.add_argument("--config", help="config of the model; default: the checkpoint's own")
    parser.add_argument(
        "--max-frames", type=positive, metavar="N", help="stop after N frames of a video or camera"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace files in DIR; default: that is an error"
    )


def _infer(args: argparse.Namespace) -> None:
    from mmdet_lite.apis.infer import infer
    from mmdet_lite.apis.infer_plan import make_plan
    from mmdet_lite.apis.inference import load

    log_to_console()
    plan = make_plan(args.inputs, Path(args.out), args.json, args.overwrite)
    model = load(
        args.checkpoint,
        args.device,
        args.precision,
        args.score,
        args.max_detections,
        args.config,
    )
    infer(model, plan, args.batch, args.max_frames)


def _print_config_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument(
        "--build", action="store_true", help="build the model too and print its parameters"
    )
    parser.add_argument(
        "--state-dict", metavar="FILE", help="write names and shapes of the weights as JSON"
    )


def _print_config(args: argparse.Namespace) -> None:
    from mmdet_lite.apis.config import load_config
    from mmdet_lite.apis.print_config import print_config

    print_config(load_config(args.config, args.cfg_options), args.build, args.state_dict)


def _flops_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument(
        "--size",
        type=positive,
        nargs=2,
        metavar=("WIDTH", "HEIGHT"),
        help="of the network input in pixels; default: to which the config's test_data brings all "
        "images, or 1280 800",
    )


def _flops(args: argparse.Namespace) -> None:
    from mmdet_lite.apis.config import load_config
    from mmdet_lite.apis.flops import print_flops

    print_flops(load_config(args.config, args.cfg_options), args.size)


def _migrate_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", help="config file of MMDetection 3.x")
    parser.add_argument("out", help="file to write")
    add_options(parser)


def _migrate(args: argparse.Namespace) -> None:
    from mmdet_lite.apis.migrate import migrate_config

    log_to_console()
    migrate_config(args.config, args.out, args.cfg_options)


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


def _browse_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("--out-dir", default="work_dirs/browse", help="folder for the pictures")
    parser.add_argument("--split", choices=["train", "val"], default="train")
    parser.add_argument("--num", type=int, default=16, help="how many images (16)")
    parser.add_argument("--epoch", type=int, default=0, help="epoch of the training, from 0")


def _browse(args: argparse.Namespace) -> None:
    from mmdet_lite.apis.browse import browse_dataset
    from mmdet_lite.apis.config import load_config, read_seed

    log_to_console()
    cfg = load_config(args.config, args.cfg_options)
    files = browse_dataset(cfg, args.out_dir, args.split, args.num, args.epoch, read_seed(cfg))
    print(f"wrote {len(files)} pictures to {args.out_dir}")


def _doctor_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "Exit code: 0 if there is nothing but notes, 1 after warnings, 2 after errors."
    parser.add_argument(
        "config", nargs="?", help="config whose data sets are examined; or --ann names one file"
    )
    add_options(parser)
    parser.add_argument(
        "--ann",
        metavar="PATH",
        action="append",
        help="without a config: a COCO json file, or annotations that `convert` reads too",
    )
    parser.add_argument("--images", metavar="DIR", help="with --ann: folder of its images")
    parser.add_argument("--split", help="with --ann: which part, of Pascal VOC or YOLO")
    parser.add_argument(
        "--trust-boxes",
        action="store_true",
        help="with --ann: boxes that look like another format's are COCO's all the same",
    )
    parser.add_argument(
        "--no-pixels",
        action="store_true",
        help="do not read the images, only look whether they are there",
    )
    parser.add_argument("--workers", type=positive, help="processes that read images (all cores)")
    parser.add_argument("--json", metavar="FILE", help="write all findings as a JSON list")
    parser.add_argument(
        "--html", metavar="FILE", help="write a page with pictures of what is found, and histograms"
    )
    parser.add_argument(
        "--fix",
        metavar="OUT",
        help="write a corrected annotation file, and what was changed to OUT.changes.json",
    )


def _doctor(args: argparse.Namespace) -> None:
    from mmdet_lite.apis.doctor import find_training, run_doctor
    from mmdet_lite.apis.doctor_sources import Source, find_sources

    if (args.config is None) == (args.ann is None) or len(args.ann or ()) > 1:
        raise ValueError(
            "name a config, or one annotation file with --ann FILE --images DIR; of the two, and "
            "of several files, one at a time"
        )
    if args.config is None:
        training = None
        source = Source(args.ann[0], args.images, trust_boxes=args.trust_boxes, split=args.split)
        sources = [source]
    else:
        from mmdet_lite.apis.config import load_config

        if args.images or args.trust_boxes or args.split:
            text = "--images, --trust-boxes and --split go with --ann; a config has its own"
            raise ValueError(text)
        cfg = load_config(args.config, args.cfg_options)
        sources, training = find_sources(cfg), find_training(cfg)
    code = run_doctor(
        sources, training, not args.no_pixels, args.workers, args.json, args.fix, args.html
    )
    sys.exit(code)


def _targets_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument(
        "--index", type=int, default=0, help="of the image in the training data, from 0 (0)"
    )
    parser.add_argument(
        "--checkpoint",
        nargs="+",
        default=[],
        metavar="FILE",
        help="weights, in the order of the training; they are shown beside the untrained model",
    )
    parser.add_argument(
        "--against", metavar="CONFIG", help="another config, whose model gets the same image"
    )
    parser.add_argument(
        "--against-checkpoint", nargs="+", default=[], metavar="FILE", help="weights of its model"
    )
    parser.add_argument("--epoch", type=int, default=0, help="epoch of the training, from 0")
    parser.add_argument("--out", default="work_dirs/targets", metavar="DIR", help="folder to write")


def _targets(args: argparse.Namespace) -> None:
    from mmdet_lite.apis.config import load_config
    from mmdet_lite.apis.targets import show_targets
    from mmdet_lite.assignment.scene import describe_scene

    log_to_console()
    if args.against_checkpoint and args.against is None:
        raise ValueError("--against-checkpoint has the weights of another config: give --against")
    scene, files = show_targets(
        load_config(args.config, args.cfg_options),
        args.index,
        args.out,
        args.checkpoint,
        None if args.against is None else load_config(args.against),
        args.against_checkpoint,
        args.epoch,
    )
    print(describe_scene(scene))
    print(f"\nwrote {' and '.join(map(str, files))}")


def _anchors_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument(
        "--fit", action="store_true", help="look for other anchors also where these are good enough"
    )
    parser.add_argument(
        "--num", type=positive, default=2000, help="read at most so many images (2000)"
    )


def _anchors(args: argparse.Namespace) -> None:
    from mmdet_lite.apis.anchors import report_anchors
    from mmdet_lite.apis.config import load_config

    print(report_anchors(load_config(args.config, args.cfg_options), args.num, args.fit))


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
    from mmdet_lite.apis.replay import replay
    from mmdet_lite.apis.replay_report import report

    cfg = load_config(args.config, args.cfg_options)
    result = replay(cfg, args.batch, args.weights, args.precision, args.show_dir)
    print(report(result))
    if not result.not_finite:
        sys.exit(_NOT_REPRODUCED)


def _demo_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--work-dir", default="work_dirs/demo")
    add_options(parser)


def _demo(args: argparse.Namespace) -> None:
    from mmdet_lite.apis.config import load_config
    from mmdet_lite.apis.demo import CONFIG, demo

    demo(load_config(CONFIG, args.cfg_options), args.work_dir)


def _publish_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", help="checkpoint file")
    parser.add_argument("out", help="file to write: NAME.safetensors or NAME.pth")
    parser.add_argument(
        "--raw",
        action="store_true",
        help="the weights as trained; default: their average (EMA) if there is one",
    )


def _publish(args: argparse.Namespace) -> None:
    from mmdet_lite.apis.publish import publish_model

    log_to_console()
    publish_model(args.checkpoint, args.out, args.raw)


def _dataset_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", help="a data set's folder or file")
    parser.add_argument("out", help="what to write: OUT.json, or for other formats see --to")
    parser.add_argument(
        "--format",
        choices=["auto", "coco", "lvis", "voc", "yolo", "labelme", "csv"],
        default="auto",
        help="what the source is (auto: found out)",
    )
    parser.add_argument(
        "--to",
        choices=["coco", "voc", "yolo", "labelme", "csv"],
        default="coco",
        help="the format to write (coco); voc, yolo and labelme are folders, with the images "
        "copied, csv is a file",
    )
    parser.add_argument("--split", help="which part to read, of VOC and YOLO: train, val, ...")
    parser.add_argument("--out-split", help="which part to write, to VOC or YOLO (as --split)")
    parser.add_argument(
        "--image-dir",
        metavar="DIR",
        help="where the images are; default: where the format has them",
    )
    parser.add_argument(
        "--classes",
        nargs="+",
        metavar="NAME",
        help="all classes in their order, for formats without a list of them: VOC, LabelMe, CSV",
    )
    parser.add_argument(
        "--skip-bad", action="store_true", help="leave out boxes without area in their image"
    )
    parser.add_argument(
        "--zero-based", action="store_true", help="VOC: the files count pixels from 0"
    )


def _convert_dataset(args: argparse.Namespace) -> None:
    from mmdet_lite.apis.convert_dataset import convert_dataset
    from mmdet_lite.data.formats import ReadOptions

    log_to_console()
    folder = Path(args.image_dir) if args.image_dir else None
    options = ReadOptions(args.split, folder, args.classes, args.skip_bad, args.zero_based)
    print(convert_dataset(args.source, args.out, args.format, args.to, options, args.out_split))


def _export_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", help="checkpoint file, or zoo:NAME")
    parser.add_argument(
        "--format",
        choices=["onnx", "torch"],
        default="onnx",
        help="ONNX, or torch.export's .pt2 (onnx)",
    )
    parser.add_argument(
        "--out", metavar="FILE", help="file to write; default: the checkpoint's name, .onnx or .pt2"
    )
    parser.add_argument(
        "--config", help="config of the model; default: the one inside of the checkpoint"
    )
    parser.add_argument(
        "--size",
        type=positive,
        nargs=2,
        metavar=("WIDTH", "HEIGHT"),
        help="of the network input in pixels; default: to which the config's test_data brings all "
        "images, or 1280 800",
    )
    parser.add_argument("--batch", type=positive, default=1, help="images at once (1)")
    parser.add_argument(
        "--dynamic",
        action="store_true",
        help="take any number of images of any size; --size and --batch are what it is tried on",
    )
    parser.add_argument(
        "--nms",
        choices=["inside", "outside"],
        default="inside",
        help="detections come out, or all boxes and scores of a one-stage detector (inside)",
    )
    parser.add_argument(
        "--opset", type=positive, help="version of ONNX's operators; default: the exporter's choice"
    )
    add_options(parser)


def _export(args: argparse.Namespace) -> None:
    from mmdet_lite.apis.export import SUFFIXES, config_of, export_model

    suffix = SUFFIXES[args.format]
    out = Path(args.out or Path(args.checkpoint.replace(":", "_")).with_suffix(suffix))
    if out.suffix != suffix:
        raise ValueError(f"--out {out}: a file of --format {args.format} ends in {suffix}")
    log_to_console()
    cfg = config_of(args.checkpoint, args.config, args.cfg_options)
    export_model(
        cfg,
        args.checkpoint,
        out,
        args.size,
        args.batch,
        args.dynamic,
        args.nms == "inside",
        args.opset,
    )


def _convert_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", help="checkpoint of another framework")
    parser.add_argument("out", help="file to write: NAME.pth or NAME.safetensors")
    parser.add_argument(
        "--kind",
        choices=["auto", "torchvision", "detectron2", "nanodet", "resnet", "yolo", "mmdet"],
        default="auto",
        help="whose it is (auto: found out by the names in it)",
    )
    parser.add_argument(
        "--config", help="a config that the weights must fit; default: the one known for them"
    )
    parser.add_argument(
        "--raw",
        action="store_true",
        help="MMDetection's, NanoDet's: weights as trained; default: their average (EMA), if any",
    )


def _convert(args: argparse.Namespace) -> None:
    from mmdet_lite.apis.convert import convert_checkpoint

    log_to_console()
    convert_checkpoint(args.source, args.out, args.kind, args.config, args.raw)


def _zoo_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|get")
    sub = actions.add_parser("list", help="show the models, with their COCO AP and config")
    sub.add_argument("pattern", nargs="?", help="show those whose name contains this")
    sub = actions.add_parser("get", help="download and convert a model")
    sub.add_argument("name", help="a name of the list; zoo:NAME is taken wherever a checkpoint is")
    sub.add_argument("--out", metavar="DIR", help="copy it there; default: it stays in the cache")


def _zoo(args: argparse.Namespace) -> None:
    from mmdet_lite.apis.zoo import get_model, list_models

    if args.action == "list":
        print(list_models(args.pattern))
        return
    log_to_console()
    print(get_model(args.name, args.out))


COMMANDS = {
    "train": Command("Train a detector from a config.", _train_arguments, _train),
    "test": Command("Evaluate a checkpoint.", _test_arguments, _test),
    "infer": Command("Detect objects in images, videos or a camera's.", _infer_arguments, _infer),
    "print-config": Command(
        "Print a config with its bases resolved, in this package's form.",
        _print_config_arguments,
        _print_config,
    ),
    "get-flops": Command(
        "Count a model's parameters and the operations of detecting in one image.",
        _flops_arguments,
        _flops,
    ),
    "migrate-config": Command(
        "Write a config of MMDetection as one of this package.", _migrate_arguments, _migrate
    ),
    "analyze-logs": Command("Compare runs by their logs.", _logs_arguments, _logs),
    "browse-dataset": Command(
        "Save pictures of what the model will see.", _browse_arguments, _browse
    ),
    "doctor": Command(
        "Find what is wrong with a data set, before a training does.",
        _doctor_arguments,
        _doctor,
        failure=2,
    ),
    "targets": Command(
        "Show which anchors, points and RoIs learn what in a training image.",
        _targets_arguments,
        _targets,
    ),
    "anchors": Command(
        "Say how well YOLO's anchors fit the training data, and find better ones.",
        _anchors_arguments,
        _anchors,
    ),
    "replay-batch": Command(
        "Run a batch again whose loss was not finite.", _replay_arguments, _replay
    ),
    "benchmark": Command(
        "Measure speed side by side with others' ways, in one run.",
        benchmarks.add_arguments,
        benchmarks.run,
    ),
    "demo": Command(
        "Train and evaluate a Mask R-CNN on shapes, in minutes.", _demo_arguments, _demo
    ),
    "publish-model": Command(
        "Write a model's weights to pass on, without what only training needs.",
        _publish_arguments,
        _publish,
    ),
    "convert": Command(
        "Convert a data set of VOC, YOLO, LVIS, LabelMe or CSV to COCO's json, or back.",
        _dataset_arguments,
        _convert_dataset,
    ),
    "export": Command(
        "Write a detector as ONNX or torch.export, to run without this package.",
        _export_arguments,
        _export,
    ),
    "convert-checkpoint": Command(
        "Convert weights of MMDetection, torchvision, detectron2, NanoDet, YOLOv5, v8.",
        _convert_arguments,
        _convert,
    ),
    "zoo": Command("List and download the models that MMDetection released.", _zoo_arguments, _zoo),
}
