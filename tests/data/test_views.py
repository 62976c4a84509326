"""What the views of an image look like, and that the image is loaded once for all of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mmdet_lite.data.dataset import DetectionDataset
from mmdet_lite.data.loader import build_eval_loader
from mmdet_lite.data.sample import SampleRef
from mmdet_lite.data.shapes_dataset import ShapesDataset
from mmdet_lite.data.transforms import Pad, RandomFlip, RandomResize, Resize
from mmdet_lite.data.views import MultiViewDataset, build_view_loader, view_pipelines
from mmdet_lite.data.wrappers import ConcatDataset

SCALES, FLIPS = [(64, 64), (96, 96)], [None, "horizontal"]


def _dataset(pipeline=(), num_images=5) -> ShapesDataset:
    return ShapesDataset(num_images, (48, 64), pipeline=pipeline)


def _loader(dataset: ShapesDataset, scales, flips, *settings):
    return build_view_loader(MultiViewDataset(dataset, scales, flips), *settings)


def test_there_is_a_view_for_every_scale_and_flip():
    (batch,) = _loader(_dataset([Resize((80, 80))], 1), SCALES, FLIPS, 1, 0)
    shapes = [(meta.shape, meta.flip) for view in batch.batches for meta in view.metas]
    assert shapes == [
        ((48, 64), ""),
        ((48, 64), "horizontal"),
        ((72, 96), ""),
        ((72, 96), "horizontal"),
    ]
    plain, mirrored = batch.batches[:2]
    assert torch.equal(mirrored.images[..., :48, :64], plain.images[..., :48, :64].flip(-1))
    (meta,) = batch.metas
    assert (meta.shape, meta.scale_factor, meta.flip) == ((48, 64), (1.0, 1.0), "")


def test_other_transforms_stay_and_padding_is_not_mirrored():
    pipeline = [Resize((80, 80)), Pad(size=(100, 90))]
    (batch,) = _loader(_dataset(pipeline, 1), [(64, 64), None], ["horizontal"], 1, 0)
    for view, width in zip(batch.batches, (64, 80), strict=True):
        assert view.metas[0].shape == (90, 100)
        assert not view.images[..., width:].any() and view.images[..., :width].any()


def test_a_pipeline_without_resize_gets_one():
    ((plain, scaled),) = (b.batches for b in _loader(_dataset(), [None, (96, 96)], [None], 5, 0))
    assert plain.metas[0].shape == (48, 64) and scaled.metas[0].shape == (72, 96)


def test_views_of_one_scale_equal_the_plain_batches_on_any_number_of_processes():
    dataset = _dataset([Resize((80, 80))])
    plain = list(build_eval_loader(dataset, 2, 0))
    for world_size in (1, 2):
        seen = [
            list(_loader(dataset, [None], [None], 2, 0, 32, rank, world_size))
            for rank in range(world_size)
        ]
        for i, batch in enumerate(plain):
            (view,) = seen[i % world_size][i // world_size].batches
            assert torch.equal(view.images, batch.images)
            assert [m.image_id for m in view.metas] == [m.image_id for m in batch.metas]


def test_an_image_is_loaded_once(monkeypatch):
    dataset, loaded = _dataset(), []
    original = dataset.load
    monkeypatch.setattr(dataset, "load", lambda i: loaded.append(i) or original(i))
    assert len(list(_loader(dataset, SCALES, FLIPS, 2, 0))) == 3
    assert loaded == [0, 1, 2, 3, 4]


def test_worker_processes_load_the_same():
    here, there = (list(_loader(_dataset(), SCALES, FLIPS, 2, n)) for n in (0, 2))
    for one, other in zip(here, there, strict=True):
        for view, same in zip(one.batches, other.batches, strict=True):
            assert torch.equal(view.images, same.images) and view.metas == same.metas


def test_what_is_random_is_alike_in_all_views():
    def brighten(sample, rng):
        return replace(sample, image=sample.image // 2 + np.uint8(rng.integers(0, 100)))

    dataset = ShapesDataset(5, (48, 64), pipeline=[brighten])
    plain, other = (dataset[i].image for i in (3, 4))
    first, second = MultiViewDataset(dataset, [None], [None, None])[SampleRef(3)]
    assert np.array_equal(first.image, plain) and np.array_equal(second.image, plain)
    assert not np.array_equal(plain, other)


@pytest.mark.parametrize(
    ("pipeline", "names"),
    [
        ([RandomResize([(64, 64), (96, 96)])], "RandomResize"),
        ([Resize((80, 80)), RandomFlip(0.0), Resize((64, 64))], "Resize, Resize"),
    ],
)
def test_scales_need_one_resize_to_take_the_place_of(pipeline, names):
    with pytest.raises(ValueError, match=f"tta.scales .* the pipeline of test_data has {names}: "):
        view_pipelines(pipeline, [(64, 64)], [None])
    assert view_pipelines(pipeline, [None], [None]) == [pipeline]


def test_a_data_set_that_makes_samples_in_its_own_way_is_refused():
    class Two(DetectionDataset):
        def __getitem__(self, ref):
            return None

    with pytest.raises(ValueError, match="needs a data set with a pipeline.*; Two makes its"):
        MultiViewDataset(Two(["a"], [1]), [None], [None])


def test_images_of_joined_data_sets_keep_their_own_pipelines():
    joined = ConcatDataset([_dataset([Resize((64, 64)), Pad(size=(70, 70))]), _dataset()])
    views = MultiViewDataset(joined, [(96, 96)], [None])
    assert views[SampleRef(0)][0].size == (72, 96)  # resized, as padding to 70 has no more to do
    assert [type(step) for step in views.pipelines_of(0)[0]] == [Resize, Pad]
    assert [type(step) for step in views.pipelines_of(5)[0]] == [Resize]
