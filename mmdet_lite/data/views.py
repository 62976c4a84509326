"""The same image several times, at several sizes and mirrored, for test-time augmentation.

Letters: V views, B images.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch.utils.data import Dataset

from mmdet_lite.data.collate import Collate
from mmdet_lite.data.dataset import DetectionDataset, Transform
from mmdet_lite.data.letterbox import Letterbox
from mmdet_lite.data.loader import DetectionLoader
from mmdet_lite.data.sample import Sample, SampleRef
from mmdet_lite.data.samplers import EvalBatchSampler
from mmdet_lite.data.transforms import RandomChoiceResize, RandomFlip, RandomResize, Resize
from mmdet_lite.structures.samples import Views

_RESIZES = (Resize, RandomResize, RandomChoiceResize, Letterbox)


class MultiViewDataset(Dataset):
    """Loads every image once and puts it through V pipelines, made from the image's own.

    Args:
        dataset: what to load from.
        scales, flips, keep_ratio: see :func:`view_pipelines`.

    Raises:
        ValueError: the data set makes its samples in another way than with a pipeline, or that of
            its first image does not fit.
    """

    def __init__(
        self,
        dataset: DetectionDataset,
        scales: Sequence[tuple[int, int] | None],
        flips: Sequence[str | None],
        keep_ratio: bool = True,
    ):
        if type(dataset).__getitem__ is not DetectionDataset.__getitem__:
            raise ValueError(
                f"test-time augmentation needs a data set with a pipeline, whose Resize it can "
                f"replace; {type(dataset).__name__} makes its samples in its own way"
            )
        self.dataset = dataset
        self.scales = scales
        self.flips = flips
        self.keep_ratio = keep_ratio
        self.seed = dataset.seed
        self.pipelines_of(0)  # what is wrong with a pipeline is told now

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, ref: SampleRef) -> list[Sample]:
        """The V views of one image."""
        sample, pipelines = self.dataset.load(ref.index), self.pipelines_of(ref.index)
        return [self.dataset.transform(sample, ref, pipeline) for pipeline in pipelines]

    def pipelines_of(self, index: int) -> list[list[Transform]]:
        """The V pipelines of one image; images of joined data sets have different ones."""
        own = self.dataset.transforms_of(index)
        return view_pipelines(own, self.scales, self.flips, self.keep_ratio)


def view_pipelines(
    pipeline: Sequence[Transform],
    scales: Sequence[tuple[int, int] | None],
    flips: Sequence[str | None],
    keep_ratio: bool = True,
) -> list[list[Transform]]:
    """A pipeline for every scale and flip: the given one with another Resize, after the flip.

    The image is mirrored first, as it is in its file: so what else the pipeline does, such as
    padding on the right, is the same for all views.

    Args:
        pipeline: of the data set.
        scales: what takes the place of its Resize, or comes first if there is none; None: the
            pipeline as it is. In place of a Letterbox comes one of that size.
        flips: 'horizontal', 'vertical', or None.
        keep_ratio: of the scales, see :class:`mmdet_lite.data.transforms.Resize`.

    Raises:
        ValueError: the pipeline resizes more than once, or at random, and there are scales; or it
            has a Letterbox, and the ratio is not to be kept.
    """
    views = []
    for scale in scales:
        resized = list(pipeline) if scale is None else _resized(pipeline, scale, keep_ratio)
        for direction in flips:
            mirror = [] if direction is None else [RandomFlip(1.0, direction)]
            views.append(mirror + resized)
    return views


def build_view_loader(
    dataset: MultiViewDataset,
    batch_size: int = 1,
    num_workers: int = 2,
    size_divisor: int = 32,
    rank: int = 0,
    world_size: int = 1,
) -> DetectionLoader:
    """A loader of :class:`Views`: every image once over all processes, in order.

    A view's images are padded together as they are without the other views. Arguments are those of
    :func:`mmdet_lite.data.loader.build_eval_loader`.
    """
    sampler = EvalBatchSampler(len(dataset), batch_size, rank, world_size)
    return DetectionLoader(dataset, sampler, _CollateViews(Collate(size_divisor)), num_workers)


class _CollateViews:
    """B lists of V samples to V batches."""

    def __init__(self, collate: Collate):
        self.collate = collate

    def __call__(self, samples: Sequence[list[Sample]]) -> Views:
        return Views([self.collate(view) for view in zip(*samples, strict=True)])


def _resized(
    pipeline: Sequence[Transform], scale: tuple[int, int], keep_ratio: bool
) -> list[Transform]:
    places = [i for i, transform in enumerate(pipeline) if isinstance(transform, _RESIZES)]
    resizes = [pipeline[i] for i in places]
    if len(places) > 1 or any(not isinstance(one, (Resize, Letterbox)) for one in resizes):
        names = ", ".join(type(one).__name__ for one in resizes)
        raise ValueError(
            f"tta.scales take the place of one Resize, but the pipeline of test_data has {names}: "
            "leave one Resize or Letterbox in it, or leave out tta.scales"
        )
    before, after = (pipeline[: places[0]], pipeline[places[0] + 1 :]) if places else ([], pipeline)
    return [*before, _rescaled(resizes[0] if resizes else None, scale, keep_ratio), *after]


def _rescaled(
    own: Resize | Letterbox | None, scale: tuple[int, int], keep_ratio: bool
) -> Resize | Letterbox:
    """What takes the place of a pipeline's own resize: of a Letterbox, one of that (w, h) size."""
    if not isinstance(own, Letterbox):
        return Resize(scale, keep_ratio)
    if not keep_ratio:
        raise ValueError(
            "tta.keep_ratio=False: the pipeline of test_data has a Letterbox, which keeps the "
            "ratio; put Resize and Pad in its place, or leave out tta.keep_ratio"
        )
    return Letterbox(scale, own.pad_val, own.center, own.enlarge)
