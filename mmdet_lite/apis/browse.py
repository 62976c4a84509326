"""Pictures of what the model will see: after the transforms and the padding to a batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from mmengine.config import Config

from mmdet_lite.apis.build import build_dataset, loader_settings
from mmdet_lite.data.loader import DetectionLoader, build_eval_loader, build_train_loader
from mmdet_lite.structures.samples import Batch
from mmdet_lite.visualization.draw import draw_instances, save_image


def browse_dataset(
    cfg: Config,
    out_dir: str | Path,
    split: str = "train",
    num: int = 16,
    epoch: int = 0,
    seed: int = 0,
) -> list[Path]:
    """Save pictures of a data set's batches with boxes, names, masks and ignore boxes.

    Args:
        cfg: a config with ``train_data``, ``val_data`` or ``test_data``.
        out_dir: folder for the PNG files.
        split: 'train', 'val' or 'test'.
        num: how many images to save, at most the whole data set.
        epoch: of the training; order and transforms differ from epoch to epoch.
        seed: the run's seed.

    Returns:
        The files, numbered in the order in which training shows them.

    Raises:
        ValueError: the config has no such split.
    """
    loader = _build_loader(cfg, split, epoch, seed)
    pictures = (p for batch in loader for p in draw_batch(batch, loader.dataset.classes))
    files = []
    for number, (image_id, picture) in enumerate(islice(pictures, min(num, len(loader.dataset)))):
        files.append(Path(out_dir) / f"{split}_{number:04d}_image_{image_id}.png")
        save_image(files[-1], picture)
    return files


def _build_loader(cfg: Config, split: str, epoch: int, seed: int) -> DetectionLoader:
    """The loader of the config, in this process, with masks wherever there are any."""
    dataset = build_dataset(cfg, split, seed)
    settings = loader_settings(cfg, split) | {"num_workers": 0}
    settings["masks"] = None if dataset[0].masks is None else "bitmaps"
    if split != "train":
        return build_eval_loader(dataset, **settings)
    iterations_per_epoch = -(-len(dataset) // settings["batch_size"])
    return build_train_loader(dataset, start_iteration=epoch * iterations_per_epoch, **settings)


def draw_batch(batch: Batch, classes: Sequence[str]) -> Iterator[tuple[int, np.ndarray]]:
    """Draw a batch's images with boxes, names, masks and ignore boxes.

    Args:
        batch: uint8 images on the CPU, with ground truth; masks as bitmaps or None.
        classes: K names.

    Returns:
        For every image its id and (H', W', 3) uint8 RGB, with the padding and enlarged as
        ``draw_instances`` does.
    """
    gt = batch.gt
    for i, meta in enumerate(batch.metas):
        valid = gt.valid[i].numpy()
        picture = draw_instances(
            np.ascontiguousarray(batch.images[i].permute(1, 2, 0).numpy()),
            gt.boxes[i].numpy()[valid],
            gt.labels[i].numpy()[valid],
            classes,
            masks=None if gt.masks is None else gt.masks[i].unpack().numpy()[valid].astype(bool),
            ignore_boxes=gt.ignore_boxes[i].numpy()[gt.ignore_valid[i].numpy()],
        )
        yield meta.image_id, picture
