"""The demonstration: train on procedural shapes, evaluate, show pictures."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config

from mmdet_lite.apis.build import build_dataset, choose_device, computes_bf16
from mmdet_lite.apis.test import test, write_json
from mmdet_lite.apis.train import train

CONFIG = "demo/mask-rcnn_r18_fpn_shapes.py"
_NUM_PICTURES = 8
_REPORTED = ("bbox_mAP", "bbox_mAP_50", "segm_mAP", "segm_mAP_50")


def demo(cfg: Config, work_dir: str | Path) -> dict[str, float]:
    """Train with the demo config, evaluate the best checkpoint, leave everything in a folder.

    Where bf16 would have to be emulated, in float32 instead.

    Args:
        cfg: the demo config, options applied.
        work_dir: receives metrics.json, checkpoints, config, logs, curves, pictures of what was
            found, and a few held-out pictures with their annotations, to try other commands on.

    Returns:
        The metrics and ``train_seconds``.
    """
    work_dir = Path(work_dir)
    if cfg.train.get("precision") == "bf16" and not computes_bf16(choose_device()):
        print("this processor has no instructions for bf16: training in float32")
        cfg.train.precision = "float32"
    seconds = train(cfg, work_dir)["train_seconds"]
    best = work_dir / f"best_{cfg.train.best_metric}.pth"
    metrics = test(cfg, best, show_dir=work_dir / "vis", show_num=16)
    metrics = {name: metrics[name] for name in _REPORTED} | {"train_seconds": seconds}
    write_json(work_dir / "metrics.json", metrics)
    shapes = build_dataset(cfg, "test", seed=0)
    shapes.num_images = min(len(shapes), _NUM_PICTURES)
    shapes.write(work_dir / "pictures")
    print(
        f"trained in {seconds:.0f} s; pictures: {work_dir / 'vis'}, {work_dir / 'curves.png'}\n"
        f"to detect in others: mmdet-lite infer {best} {work_dir / 'pictures/images'} "
        f"--out {work_dir / 'found'}"
    )
    return metrics
