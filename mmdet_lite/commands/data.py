"""Looking at data sets and converting them: doctor, convert, browse-dataset, targets, anchors.

Heavy imports happen inside the functions, after what can be checked without them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmdet_lite.arguments import add_config, add_options, log_to_console, positive
from mmdet_lite.commands.command import Command


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


def _browse_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("--out-dir", default="work_dirs/browse", help="folder for the pictures")
    parser.add_argument("--split", choices=["train", "val"], default="train")
    parser.add_argument("--num", type=int, default=16, help="how many images (16)")
    parser.add_argument("--epoch", type=int, default=0, help="epoch of the training, from 0")


def _browse(args: argparse.Namespace) -> None:
    from mmdet_lite.apis.config import load_config, read_seed

    log_to_console()
    cfg = load_config(args.config, args.cfg_options)
    from mmdet_lite.apis.browse import browse_dataset

    files = browse_dataset(cfg, args.out_dir, args.split, args.num, args.epoch, read_seed(cfg))
    print(f"wrote {len(files)} pictures to {args.out_dir}")


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

    log_to_console()
    if args.against_checkpoint and args.against is None:
        raise ValueError("--against-checkpoint has the weights of another config: give --against")
    cfg = load_config(args.config, args.cfg_options)
    other = None if args.against is None else load_config(args.against)
    from mmdet_lite.apis.targets import show_targets
    from mmdet_lite.assignment.scene import describe_scene

    scene, files = show_targets(
        cfg,
        args.index,
        args.out,
        args.checkpoint,
        other,
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
    from mmdet_lite.apis.config import load_config

    cfg = load_config(args.config, args.cfg_options)
    from mmdet_lite.apis.anchors import report_anchors

    print(report_anchors(cfg, args.num, args.fit))


COMMANDS = {
    "doctor": Command(
        "Find what is wrong with a data set, before a training does.",
        _doctor_arguments,
        _doctor,
        failure=2,
    ),
    "convert": Command(
        "Convert a data set of VOC, YOLO, LVIS, LabelMe or CSV to COCO's json, or back.",
        _dataset_arguments,
        _convert_dataset,
    ),
    "browse-dataset": Command(
        "Save pictures of what the model will see.", _browse_arguments, _browse
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
}
