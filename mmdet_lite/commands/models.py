"""What is done with a trained model: infer, export, publish-model, convert-checkpoint, zoo.

Heavy imports happen inside the functions, after what can be checked without them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmdet_lite.arguments import add_input_size, add_options, log_to_console, positive
from mmdet_lite.commands.command import Command


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
    add_input_size(parser)
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
    "infer": Command("Detect objects in images, videos or a camera's.", _infer_arguments, _infer),
    "export": Command(
        "Write a detector as ONNX or torch.export, to run without this package.",
        _export_arguments,
        _export,
    ),
    "publish-model": Command(
        "Write a model's weights to pass on, without what only training needs.",
        _publish_arguments,
        _publish,
    ),
    "convert-checkpoint": Command(
        "Convert weights of MMDetection, torchvision, detectron2, NanoDet, YOLOv5, v8.",
        _convert_arguments,
        _convert,
    ),
    "zoo": Command("List and download the models that MMDetection released.", _zoo_arguments, _zoo),
}
