"""`mmdet-lite benchmark WORD ...`: what each first word measures, and its arguments."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mmdet_lite.arguments import add_config, add_options, log_to_console, positive

if TYPE_CHECKING:
    from mmdet_lite.benchmarks.inputs import InputSize
    from mmdet_lite.benchmarks.rows import Row

_DEMO = "demo/mask-rcnn_r18_fpn_shapes.py"
_DEFAULT_CONFIG = "mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py"
_TWO_STAGE_CONFIG = "faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"


@dataclass(frozen=True)
class Measurement:
    """What a first word stands for."""

    summary: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], None]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `mmdet-lite benchmark`."""
    words = "|".join(MEASUREMENTS)
    actions = parser.add_subparsers(dest="action", required=True, metavar=words)
    for word, measurement in MEASUREMENTS.items():
        about = measurement.summary
        measurement.add_arguments(actions.add_parser(word, help=about, description=about))


def run(args: argparse.Namespace) -> None:
    """Measure what the first word says, print a table and write what was asked for."""
    MEASUREMENTS[args.action].run(args)


def _add_rounds(parser: argparse.ArgumentParser, default: int) -> None:
    text = f"turns of each contender ({default})"
    parser.add_argument("--rounds", type=positive, default=default, help=text)


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", metavar="FILE", help="write the rows as a JSON list")


def _add_image_size(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--size",
        nargs=2,
        type=positive,
        default=(480, 640),
        metavar=("HEIGHT", "WIDTH"),
        help="of the images (480 640)",
    )


def _report(measure: Callable[[], list[Row]], args: argparse.Namespace) -> None:
    """Describe the machine, measure, print, write."""
    from mmdet_lite.apis.build import choose_device
    from mmdet_lite.benchmarks.machine import describe_machine, heading
    from mmdet_lite.benchmarks.rows import table

    machine, command = describe_machine(choose_device()), shlex.join(sys.argv)
    rows = measure()
    print(f"{command}\n{heading(machine)}\n{table(rows)}")
    if args.json:
        path = Path(args.json)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = [row.as_dict(machine, command) for row in rows]
        path.write_text(json.dumps(content, indent=2) + "\n")


def _add_size(parser: argparse.ArgumentParser, batch: int, objects: int, objects_help: str) -> None:
    parser.add_argument("--batch-size", type=positive, default=batch, help=f"images ({batch})")
    _add_image_size(parser)
    parser.add_argument("--objects", type=positive, default=objects, help=objects_help)


def _step_arguments(parser: argparse.ArgumentParser, batch: int, rounds: int) -> None:
    parser.add_argument(
        "config",
        nargs="?",
        default=_DEFAULT_CONFIG,
        help=f"of a Faster or Mask R-CNN with ResNet-50 and FPN ({_DEFAULT_CONFIG})",
    )
    add_options(parser)
    text = "ground truths an image, each at least one positive RoI, to the sampler's limit (128)"
    _add_size(parser, batch, 128, text)
    parser.add_argument(
        "--variants",
        nargs="+",
        metavar="NAME",
        help="how ours computes: float32, bf16 or fp16, alone or with ',channels_last' and, in "
        "training, ',compile' (float32 and, where the processor has bf16, bf16,channels_last)",
    )
    parser.add_argument("--warmup", type=positive, default=2, help="turns that do not count (2)")
    text = "write a trace of one run of each contender, for https://ui.perfetto.dev"
    parser.add_argument("--trace", metavar="DIR", type=Path, help=text)
    _add_rounds(parser, rounds)
    _add_json(parser)


def _input_size(args: argparse.Namespace) -> InputSize:
    from mmdet_lite.benchmarks.inputs import InputSize

    return InputSize(args.batch_size, *args.size, args.objects)


def _train_arguments(parser: argparse.ArgumentParser) -> None:
    _step_arguments(parser, batch=2, rounds=10)


def _train(args: argparse.Namespace) -> None:
    from mmdet_lite.benchmarks.training import benchmark_train

    _run_steps(benchmark_train, args)


def _infer_arguments(parser: argparse.ArgumentParser) -> None:
    _step_arguments(parser, batch=1, rounds=20)


def _infer(args: argparse.Namespace) -> None:
    from mmdet_lite.benchmarks.training import benchmark_infer

    _run_steps(benchmark_infer, args)


def _fast_variants() -> list[str]:
    """What is measured unless ``--variants`` says otherwise: bf16 only where it is not emulated."""
    from mmdet_lite.apis.build import choose_device, computes_bf16

    if computes_bf16(choose_device()):
        return ["float32", "bf16,channels_last"]
    print("this processor has no instructions for bf16: measuring float32 alone", file=sys.stderr)
    return ["float32", "float32,channels_last"]


def _run_steps(benchmark: Callable, args: argparse.Namespace) -> None:
    from mmdet_lite.apis.config import load_config
    from mmdet_lite.benchmarks.training import parse_variant

    cfg = load_config(args.config, args.cfg_options)
    variants = [parse_variant(text) for text in args.variants or _fast_variants()]
    turns = args.rounds, args.warmup
    _report(lambda: benchmark(cfg, _input_size(args), variants, *turns, args.trace), args)


def _startup_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "config", nargs="?", default=_DEMO, help=f"whose training is started ({_DEMO})"
    )
    _add_rounds(parser, 5)
    _add_json(parser)


def _startup(args: argparse.Namespace) -> None:
    from mmdet_lite.benchmarks.startup import benchmark_startup

    _report(lambda: benchmark_startup(args.config, args.rounds), args)


def _targets_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "config", nargs="?", default=_TWO_STAGE_CONFIG, help=f"Faster R-CNN ({_TWO_STAGE_CONFIG})"
    )
    add_options(parser)
    _add_size(parser, batch=8, objects=20, objects_help="ground truths an image (20)")
    parser.add_argument("--warmup", type=positive, default=2, help="turns that do not count (2)")
    _add_rounds(parser, 10)
    _add_json(parser)


def _targets(args: argparse.Namespace) -> None:
    from mmdet_lite.apis.config import load_config
    from mmdet_lite.benchmarks.targets import benchmark_targets

    cfg = load_config(args.config, args.cfg_options)
    _report(lambda: benchmark_targets(cfg, _input_size(args), args.rounds, args.warmup), args)


def _ap_loss_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--positives", type=positive, default=5000, metavar="N", help="entries (5000)"
    )
    parser.add_argument(
        "--negatives", type=positive, default=100_000, metavar="N", help="entries (100000)"
    )
    parser.add_argument("--num-classes", type=positive, default=20, metavar="K", help="(20)")
    _add_rounds(parser, 5)
    _add_json(parser)


def _ap_loss(args: argparse.Namespace) -> None:
    from mmdet_lite.benchmarks.ap_loss import benchmark_ap_loss

    numbers = (args.positives, args.negatives, args.num_classes, args.rounds)
    _report(lambda: benchmark_ap_loss(*numbers), args)


def _data_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ann_file", help="a COCO annotation file with masks")
    parser.add_argument("image_dir", help="folder of its images")
    parser.add_argument(
        "--scale",
        nargs=2,
        type=positive,
        default=(1333, 800),
        metavar=("LONG", "SHORT"),
        help="edges that images must fit in (1333 800)",
    )
    parser.add_argument("--batch-size", type=positive, default=2, help="images (2)")
    parser.add_argument(
        "--images", type=positive, default=80, metavar="N", help="images with objects to use (80)"
    )
    _add_rounds(parser, 5)
    _add_json(parser)


def _data(args: argparse.Namespace) -> None:
    from mmdet_lite.benchmarks.data import DataSource, benchmark_data

    files = (args.ann_file, args.image_dir)
    source = DataSource(*files, tuple(args.scale), args.batch_size, args.images)
    _report(lambda: benchmark_data(source, args.rounds), args)


def _scaling_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument(
        "--processes",
        nargs="+",
        type=positive,
        default=[1, 2],
        metavar="N",
        help="numbers of processes to compare; ratios are to the first (1 2)",
    )
    parser.add_argument(
        "--batch-size",
        type=positive,
        metavar="N",
        help="images a step, which the processes share; default: train_data.batch_size",
    )
    _add_rounds(parser, 3)
    parser.add_argument("--iters", type=positive, default=10, help="timed steps a turn (10)")
    parser.add_argument("--warmup", type=positive, default=3, help="steps before them (3)")
    parser.add_argument(
        "--ddp-settings",
        action="store_true",
        help="compare settings of DistributedDataParallel too, at each number of processes above 1",
    )
    parser.add_argument("--out", metavar="FILE", help="write everything, each time too, as JSON")
    # what the processes that are compared are started with
    parser.add_argument("--worker", metavar="FILE", help=argparse.SUPPRESS)
    parser.add_argument("--worker-ddp", type=json.loads, help=argparse.SUPPRESS)


def _scaling(args: argparse.Namespace) -> None:
    from mmdet_lite.apis.config import load_config

    cfg = load_config(args.config, args.cfg_options)
    if args.worker:
        from mmdet_lite.benchmarks.scaling_worker import measure
        from mmdet_lite.engine.distributed import processes

        with processes():
            measure(cfg, args.iters, args.warmup, args.worker_ddp, args.worker)
        return

    from mmdet_lite.apis.test import write_json
    from mmdet_lite.benchmarks.scaling import benchmark, list_contenders
    from mmdet_lite.benchmarks.scaling_report import table

    log_to_console()
    contenders = list_contenders(args.processes, args.ddp_settings)
    result = benchmark(cfg, contenders, args.batch_size, args.rounds, args.iters, args.warmup)
    result["command"] = shlex.join(sys.argv)
    print(f"\n{result['command']}\n{table(result)}")
    if args.out:
        write_json(args.out, result)


def _eval_arguments(parser: argparse.ArgumentParser) -> None:
    numbers = {
        "images": (5000, "images"),
        "detections": (100, "boxes an image, where boxes are evaluated"),
        "masks": (20, "masks an image, where masks are encoded"),
        "classes": (80, "classes"),
    }
    for name, (default, text) in numbers.items():
        parser.add_argument(
            f"--{name}", type=positive, default=default, metavar="N", help=f"{text} ({default})"
        )
    _add_image_size(parser)
    _add_rounds(parser, 3)
    parser.add_argument(
        "--box-rounds",
        type=positive,
        default=1,
        help="turns where boxes are evaluated, as pycocotools takes most of a minute (1)",
    )
    _add_json(parser)


def _eval(args: argparse.Namespace) -> None:
    from mmdet_lite.benchmarks.evaluation import benchmark_evaluation
    from mmdet_lite.benchmarks.evaluation_inputs import EvaluationSize

    size = EvaluationSize(args.images, args.detections, args.masks, args.classes, *args.size)
    _report(lambda: benchmark_evaluation(size, args.rounds, args.box_rounds), args)


def _doctor_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "ann_files", nargs="*", metavar="ANN_FILE", help="COCO annotation files to check too"
    )
    for name, default in (("images", 100_000), ("annotations", 800_000)):
        text = f"of the file that is made up ({default})"
        parser.add_argument(f"--{name}", type=positive, default=default, metavar="N", help=text)
    _add_rounds(parser, 3)
    _add_json(parser)


def _doctor(args: argparse.Namespace) -> None:
    from mmdet_lite.benchmarks.doctor import benchmark_doctor

    files = [Path(file) for file in args.ann_files]
    numbers = (args.images, args.annotations, args.rounds)
    _report(lambda: benchmark_doctor(files, *numbers), args)


MEASUREMENTS = {
    "train": Measurement(
        "time training steps, ours and torchvision's, and count what they do",
        _train_arguments,
        _train,
    ),
    "infer": Measurement(
        "time detection, ours and torchvision's, and count what they do", _infer_arguments, _infer
    ),
    "startup": Measurement(
        "time imports, and the first training iteration", _startup_arguments, _startup
    ),
    "data": Measurement(
        "time the data pipeline, ours and torchvision's, as a whole and by stage",
        _data_arguments,
        _data,
    ),
    "scaling": Measurement(
        "time the training step of a config, of one process and of several",
        _scaling_arguments,
        _scaling,
    ),
    "targets": Measurement(
        "time targets and losses of both stages, ours and torchvision's, and count what they do",
        _targets_arguments,
        _targets,
    ),
    "ap-loss": Measurement(
        "time AP loss, and a loop over the positives", _ap_loss_arguments, _ap_loss
    ),
    "doctor": Measurement(
        "time the check of annotation files, and the memory that it takes",
        _doctor_arguments,
        _doctor,
    ),
    "eval": Measurement(
        "time the evaluation of boxes and the encoding of masks, ours and pycocotools'",
        _eval_arguments,
        _eval,
    ),
}
