"""Wrong data, checkpoints and combinations of both with a model, told at the command line."""

from __future__ import annotations

import gc
import math
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mmdet_lite.engine.checkpoint import load_checkpoint

TINY = Path(__file__).parent / "tiny_config.py"
NO_MASK_HEAD = ("model.roi_head.mask_head=None", "model.roi_head.mask_roi_extractor=None")


@pytest.fixture
def train_error(cli_error, tmp_path):
    """The message of ``train CONFIG --cfg-options ...``."""

    def run(config, *options):
        arguments = ("--cfg-options", *options) if options else ()
        return cli_error("train", config, "--work-dir", tmp_path / "work", *arguments)

    return run


@pytest.fixture
def test_error(cli_error, trained):
    """The message of ``test CONFIG CHECKPOINT --cfg-options ...``; by default a good checkpoint."""

    def run(*options, config=TINY, checkpoint=None):
        arguments = ("--cfg-options", *options) if options else ()
        return cli_error("test", config, checkpoint or trained / "iter_2.pth", *arguments)

    return run


@pytest.fixture
def unnamed(trained, tmp_path):
    """Weights of a good checkpoint without the names of its classes."""
    torch.save(load_checkpoint(trained / "iter_2.pth")["model"], tmp_path / "unnamed.pth")
    return tmp_path / "unnamed.pth"


# The config against the registry


def test_unknown_type_gets_near_matches(train_error):
    message = train_error(TINY, "model.backbone.type=ResNt")
    assert message.startswith("unknown type 'ResNt'; did you mean 'ResNet'? ")
    assert "custom_imports" in message


def test_type_that_cannot_stand_there_is_refused(train_error):
    message = train_error(TINY, "metric={'type': 'RandomFlip'}")
    assert "'RandomFlip' (it is registered as a transform, which cannot stand here)" in message


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("train.precision=bf8", "precision is 'bf8', expected 'float32', 'bf16', 'fp16'"),
        ("train.max_epochs=3", "exactly one of max_epochs and max_iters must be set, they are 3"),
        ("train_data.batch_size=x", "train_data has batch_size='x', expected a whole number from"),
        ("train_data.pad_size=512", "train_data has pad_size=512, expected two positive integers"),
        ("val_data.pad_size=(64,64)", "config: val_data has unknown 'pad_size'"),
        ("val_data.num_workers=-1", "val_data has num_workers=-1, expected a whole number from 0"),
        ("train_data={'dataset': {}}", "config: train_data has no 'batch_size'"),
        ("val_data={'batch_size': 1}", "config: val_data has no 'dataset'"),
        ("metric=None", "missing section metric; the sections are model, train_data, "),
        ("optimizer=SGD", "config: optimizer must be a dict, got 'SGD'"),
        ("hooks=[{'type': 'EarlyStoping'}]", "unknown hook type 'EarlyStoping'; did you mean 'Ea"),
        ("auto_scale_lr.enable=True", "set auto_scale_lr.base_batch_size"),
        ("train.best_metric=mAP", "train.best_metric is 'mAP', which is not among the metrics"),
    ],
)
def test_setting_out_of_range_is_named(train_error, option, words):
    assert words in train_error(TINY, option)


def test_unwritable_work_dir_is_named(cli_error, tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    for work_dir, reason in ((file, "File exists"), (file / "below", "Not a directory")):
        assert cli_error("train", TINY, "--work-dir", work_dir) == (
            f"cannot write to the work dir '{work_dir}' ({reason}); choose another with --work-dir"
        )


# The annotation file


def test_missing_annotation_file(train_error, coco_config):
    message = train_error(coco_config(ann_file="no/instances.json"))
    assert message.startswith("annotation file not found: no/instances.json (absolute: /")
    assert "Correct ann_file" in message


def test_annotation_file_that_is_not_json(train_error, coco_config, tmp_path):
    file = tmp_path / "broken.json"
    file.write_text('{"images": [\n 1 2]}')
    message = train_error(coco_config(ann_file=file))
    assert message.startswith(f"annotation file {file} is not JSON:\n")
    assert "Expecting ',' delimiter (line 2, column 4)" in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "list, expected dict"),
        ('{"info": 1}', "- missing_key: a key that is needed is not there (3):"),
        (
            '{"images": [{"id": 1}], "annotations": [], "categories": []}',
            "images[0] (id 1): 'file_name' is missing; there are ['id']",
        ),
    ],
)
def test_annotation_file_that_is_not_coco(train_error, coco_config, tmp_path, text, words):
    file = tmp_path / "other.json"
    file.write_text(text)
    message = train_error(coco_config(ann_file=file))
    assert message.startswith(f"annotation file {file} ")
    assert words in message


def test_bad_boxes_are_listed_by_annotation_id(train_error, coco_config, annotations):
    def spoil(content):
        boxes = [annotation["bbox"] for annotation in content["annotations"]]
        boxes[0][2] = -1
        boxes[1][3] = -2.5
        boxes[2][0] = math.nan
        boxes[3][2] = math.inf
        spoil.ids = [annotation["id"] for annotation in content["annotations"][:4]]

    message = train_error(coco_config(ann_file=annotations(spoil)))
    without_area, not_finite = message.partition("- box_degenerate")[::-2]
    assert "cannot be used" in message
    assert [i for i in spoil.ids if f"annotation {i} (image" in without_area][:2] == spoil.ids[:2]
    assert [i for i in spoil.ids if f"(id {i}): bbox" in not_finite] == spoil.ids[2:]
    assert "bbox [nan, " in not_finite and "bad_annotations='skip'" in without_area


def test_data_set_without_images(train_error, coco_config, annotations):
    config = coco_config(ann_file=annotations(lambda c: c.update(images=[], annotations=[])))
    message = train_error(config)
    assert message.startswith("train_data has no images: check the annotation file")
    assert "changed.json" in message
    assert train_error(TINY, "val_data.dataset.num_images=0").startswith("val_data has no images")


def test_data_set_whose_images_were_all_left_out(train_error, coco_config, annotations):
    file = annotations(lambda content: content.update(annotations=[]))
    message = train_error(coco_config(ann_file=file, filter_empty_gt=True))
    assert message.startswith("train_data has no images: ") and "filter_empty_gt" in message


def test_training_data_without_any_object_is_told(run_cli, coco_config, annotations, tmp_path):
    file = annotations(lambda content: content.update(annotations=[]))
    options = ("--cfg-options", "train.max_iters=1", "val_data=None")
    result = run_cli("train", coco_config(ann_file=file), "--work-dir", tmp_path / "w", *options)
    assert result.code == 0, result.err
    assert "WARNING: train_data: none of the 4 images that were looked at (of 4)" in result.out


@pytest.mark.parametrize(
    "pipeline",
    [
        [{"type": "RandomAffine"}],
        [{"type": "Mosaic", "prob": 0.0}],
        [{"type": "UntilEpoch", "epoch": 0, "transforms": [], "then": [{"type": "MixUp"}]}],
        [{"type": "RandomChoice", "transforms": [[], [{"type": "CopyPaste"}]]}],
        [{"type": "RandomCrop", "crop_size": (8, 8)}],
    ],
)
def test_transforms_after_which_metrics_would_be_wrong_are_refused(train_error, pipeline):
    inner = {"type": "ShapesDataset", "num_images": 2, "pipeline": pipeline}
    for dataset in (inner, {"type": "ConcatDataset", "datasets": [inner]}):
        message = train_error(TINY, f"val_data.dataset={dataset}")
        assert message.startswith("val_data: the pipeline has ")
        assert "leave that to train_data" in message


@pytest.mark.parametrize(
    ("transform", "is_late"),
    [
        ({"type": "UntilIteration", "iteration": 1, "transforms": []}, True),
        ({"type": "UntilIteration", "iteration": 0, "transforms": []}, False),
        ({"type": "UntilEpoch", "epoch": 9, "transforms": []}, False),  # not counted in epochs
    ],
)
def test_a_phase_beyond_the_end_of_the_run_is_told(run_cli, tmp_path, transform, is_late):
    dataset = {"type": "ShapesDataset", "num_images": 2, "pipeline": [transform]}
    options = ("train.max_iters=1", "val_data=None", f"train_data.dataset={dataset}")
    result = run_cli("train", TINY, "--work-dir", tmp_path, "--cfg-options", *options)
    assert result.code == 0, result.err
    words = "UntilIteration(iteration=1) lies beyond the run's end, train.max_iters=1"
    assert (words in result.out) == is_late


# Image files


def test_missing_image_files_are_listed_before_training(train_error, coco_config, shapes, tmp_path):
    shutil.copytree(shapes / "images", tmp_path / "images")
    for name in ("000002.png", "000004.png"):
        (tmp_path / "images" / name).unlink()
    message = train_error(coco_config(image_dir=tmp_path / "images"))
    assert "- image_missing: a listed image has no file (2):" in message
    assert f"{tmp_path}/images/000002.png" in message
    assert f"{tmp_path}/images/000004.png" in message
    assert "image folder not found" in train_error(coco_config(image_dir=tmp_path / "nowhere"))


@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize("fault", ["truncated", "gone"])
def test_image_that_fails_during_training_is_named(
    train_error, coco_config, shapes, tmp_path, monkeypatch, fault, num_workers
):
    shutil.copytree(shapes / "images", tmp_path / "images")
    image = tmp_path / "images/000003.png"
    if fault == "truncated":
        image.write_bytes(image.read_bytes()[:900])
        words = f"image id 3: image file {image} is truncated or damaged (900 bytes: "
    else:  # it was there when the data set was checked
        monkeypatch.setattr("mmdet_lite.data.coco_dataset.check_image_files", lambda *given: None)
        image.unlink()
        words = f"image id 3: image file not found: {image}"
    # torch waits this long for a worker whose error it has passed on
    monkeypatch.setattr("torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL", 0.2)
    workers = f"train_data.num_workers={num_workers}"
    message = train_error(coco_config(image_dir=tmp_path / "images"), workers, "val_data=None")
    assert message.startswith(words)
    assert "\n" not in message
    gc.collect()  # the loader's end is here and not in the next test


# The model against the data


def test_num_classes_of_every_head_is_compared_with_the_training_data(train_error):
    both = ("model.roi_head.bbox_head.num_classes=80", "model.roi_head.mask_head.num_classes=80")
    assert train_error(TINY, *both) == (
        "model.roi_head.bbox_head has num_classes=80 and model.roi_head.mask_head has "
        "num_classes=80, but train_data has 6 classes (circle, square, triangle, star, ring, "
        "cross). Set num_classes=6, or None to take it from the data; or choose the classes with "
        "train_data.dataset.metainfo.classes"
    )
    assert train_error(TINY, both[0]).startswith("model.roi_head.bbox_head has num_classes=80, but")
    assert train_error(TINY, both[1]).startswith("model.roi_head.mask_head has num_classes=80, but")


def test_num_classes_is_compared_with_the_validation_data(train_error, coco_config):
    dataset = f"val_data.dataset.metainfo={dict(classes=['ring', 'star'])}"
    message = train_error(coco_config(), dataset)
    assert "num_classes=6" in message and "but val_data has 2 classes (ring, star)" in message


def test_num_classes_is_compared_with_the_test_data(test_error, coco_config, unnamed):
    config = coco_config(metainfo=dict(classes=["ring", "star"]))
    message = test_error(config=config, checkpoint=unnamed)
    assert "model.roi_head.bbox_head has num_classes=6" in message
    assert "but test_data has 2 classes (ring, star). Set num_classes=2" in message


def test_unknown_class_names_are_listed_with_those_of_the_file(train_error, coco_config):
    message = train_error(coco_config(metainfo=dict(classes=["circle", "sqare", "rng"])))
    assert "'sqare'" in message and "'rng'" in message
    assert "The file's categories are: 'circle', 'square', 'triangle', " in message


def test_mask_head_needs_masks(train_error, coco_config):
    message = train_error(coco_config(with_masks=False))
    assert message.startswith("the model has a mask head, but the training data set loads no masks")
    assert "train_data.dataset.with_masks=True" in message


def test_masks_that_the_file_lacks_are_listed(train_error, coco_config, annotations):
    def remove(content):
        for annotation in content["annotations"][:2]:
            del annotation["segmentation"]

    message = train_error(coco_config(ann_file=annotations(remove)))
    assert "- missing_key: a key that is needed is not there (2):" in message
    assert "no 'segmentation'" in message
    assert "with_masks=False" in message


def test_metric_segm_needs_a_mask_head_and_says_so_before_training(train_error, tmp_path):
    message = train_error(TINY, *NO_MASK_HEAD)
    assert message.startswith("metric.metrics has 'segm', but the model has no mask head: ")
    assert not (tmp_path / "work").exists()


def test_metric_segm_needs_masks_of_the_data(train_error, coco_config):
    message = train_error(coco_config(), "val_data.dataset.with_masks=False")
    assert message.startswith("metric.metrics has 'segm', but val_data loads no masks: ")
    assert "val_data.dataset.with_masks=True" in message


# Checkpoints


class Hostile:
    """Unpickled carelessly, it would make a file."""

    def __init__(self, mark: Path, function: Callable):
        self.call = {
            os.system: (os.system, (f"touch {mark}",)),
            eval: (eval, (f"open({str(mark)!r}, 'w')",)),
        }[function]

    def __reduce__(self):
        return self.call


@pytest.fixture(params=[os.system, eval])
def hostile(request, trained, tmp_path):
    """A good checkpoint into which code was put; and the file that the code would make."""
    mark = tmp_path / "the_code_ran"
    content = torch.load(trained / "iter_2.pth", weights_only=True)
    content["meta"]["classes"] = Hostile(mark, request.param)
    torch.save(content, tmp_path / "hostile.pth")
    return tmp_path / "hostile.pth", mark


def test_missing_checkpoint(test_error, tmp_path):
    message = test_error(checkpoint=tmp_path / "none.pth")
    assert message == (
        f"checkpoint '{tmp_path}/none.pth' does not exist (looked for {tmp_path}/none.pth; there "
        f"is no 'none.pth' in {tmp_path})"
    )
    (tmp_path / "one.pth").touch()
    assert "; near matches there: one.pth)" in test_error(checkpoint=tmp_path / "none.pth")
    message = test_error(checkpoint=tmp_path)
    assert message == f"checkpoint '{tmp_path}' is a folder, expected a file in it"


def test_hostile_checkpoint_is_refused_wherever_one_is_read(
    test_error, cli_error, hostile, tmp_path
):
    file, mark = hostile
    train = ("train", TINY, "--work-dir", tmp_path / "work")
    messages = [
        test_error(checkpoint=file),
        cli_error(*train, "--resume", file),
        cli_error(*train, "--cfg-options", f"load_from={file}"),
    ]
    assert all(message.startswith(f"{file} ") for message in messages)
    assert not mark.exists()


def test_refusal_names_what_the_checkpoint_would_call(test_error, tmp_path):
    file = tmp_path / "hostile.pth"
    torch.save({"state_dict": Hostile(tmp_path / "mark", os.system)}, file)
    message = test_error(checkpoint=file)
    assert message.startswith(f"{file} was refused: it holds {os.system.__module__}.system, and")
    assert "could run code" in message and "torch.save(model.state_dict()" in message


def test_the_hostile_checkpoint_is_one(hostile):
    file, mark = hostile
    torch.load(file, weights_only=False)
    assert mark.exists()


def test_plain_pickle_is_refused(test_error, tmp_path):
    mark, file = tmp_path / "the_code_ran", tmp_path / "plain.pth"
    file.write_bytes(pickle.dumps(Hostile(mark, eval), protocol=2))
    assert str(file) in test_error(checkpoint=file)
    assert not mark.exists()


@pytest.mark.parametrize("with_checksum", [True, False])
def test_truncated_checkpoint(test_error, trained, tmp_path, with_checksum):
    file, content = tmp_path / "iter_2.pth", (trained / "iter_2.pth").read_bytes()
    file.write_bytes(content[: len(content) // 2])
    if with_checksum:
        shutil.copy(trained / "iter_2.pth.sha256", tmp_path)
    message = test_error(checkpoint=file)
    assert str(file) in message and "damaged" in message
    assert f"{len(content) // 2} bytes on disk" in message
    assert "Use an older checkpoint" in message


def test_file_that_is_no_checkpoint(test_error, tmp_path):
    for content in (b"", b"<html>not found</html>"):
        (tmp_path / "page.pth").write_bytes(content)
        message = test_error(checkpoint=tmp_path / "page.pth")
        assert f"page.pth cannot be read as a checkpoint ({len(content)} bytes on disk)" in message


def test_checkpoint_of_another_architecture_lists_the_keys(test_error):
    message = test_error(*NO_MASK_HEAD, "metric.metrics=[bbox]", "model.backbone.depth=34")
    assert "the weights do not fit TwoStageDetector" in message
    assert "missing (96): backbone.layer1.2.conv1.weight, " in message and "86 more" in message
    assert "not in the model (6): roi_head.mask_head.convs.0.conv.weight, " in message
    assert "Use the config that it was trained with" in message


def test_weights_of_other_classes_list_the_shapes(test_error, coco_config, unnamed):
    heads = ("model.roi_head.bbox_head.num_classes=3", "model.roi_head.mask_head.num_classes=3")
    config = coco_config(metainfo=dict(classes=["ring", "star", "cross"]))
    message = test_error(*heads, config=config, checkpoint=unnamed)
    assert "of another shape (given -> model) (6): " in message
    assert "roi_head.bbox_head.fc_cls.weight (7, 16) -> (4, 16)" in message
    assert "another number of classes?" in message and "load_from" in message


def test_resuming_from_nothing_warns_and_starts(run_cli, tmp_path):
    options = ("--cfg-options", "train.max_iters=1", "val_data=None")
    result = run_cli("train", TINY, "--work-dir", tmp_path, "--resume", *options)
    assert result.code == 0, result.err
    assert f"WARNING: --resume: no good checkpoint in {tmp_path}, starting anew" in result.out
    assert (tmp_path / "iter_1.pth").is_file()


def test_resuming_from_a_missing_file(cli_error, tmp_path):
    message = cli_error("train", TINY, "--work-dir", tmp_path, "--resume", tmp_path / "gone.pth")
    assert message.startswith(f"--resume '{tmp_path}/gone.pth' does not exist (looked for ")


def test_resuming_a_run_with_other_settings_names_them(cli_error, trained, tmp_path):
    message = cli_error(
        *("train", TINY, "--work-dir", tmp_path, "--resume", trained / "iter_2.pth"),
        *("--cfg-options", "train.accumulate=2", "train.precision=bf16"),
    )
    assert "accumulate was 1 and is 2; precision was float32 and is bf16; ema was True" in message
    assert "start a new run from its weights with load_from" in message


def test_resuming_from_bare_weights_points_to_load_from(cli_error, trained, tmp_path):
    weights = torch.load(trained / "iter_2.pth", weights_only=True)["model"]
    torch.save(weights, tmp_path / "bare.pth")
    message = cli_error("train", TINY, "--work-dir", tmp_path, "--resume", tmp_path / "bare.pth")
    assert "holds no run to resume, only backbone.conv1.weight" in message
    assert "set load_from" in message


def test_missing_weights_to_start_from(train_error, tmp_path):
    message = train_error(TINY, f"load_from={tmp_path}/gone.pth")
    assert message.startswith(f"load_from '{tmp_path}/gone.pth' does not exist")


def test_a_run_that_cannot_start_leaves_the_earlier_one_alone(cli_error, tmp_path):
    (tmp_path / "iter_4.pth").write_text("weights")
    message = cli_error("train", TINY, "--work-dir", tmp_path, "--cfg-options", "train.max_itres=5")
    assert "unknown 'max_itres'" in message
    assert [path.name for path in tmp_path.iterdir()] == ["iter_4.pth"]


def test_classes_in_another_order_are_refused_in_validation(
    cli_error, annotations, shapes, tmp_path
):
    def reverse(content: dict) -> None:
        content["categories"].reverse()

    data = {"type": "CocoDataset", "ann_file": str(annotations(reverse)), "with_masks": True}
    data["image_dir"] = str(shapes / "images")
    message = cli_error(
        "train", TINY, "--work-dir", tmp_path, "--cfg-options", f"val_data.dataset={data}"
    )
    assert "the classes of val_data are not those of train_data: the order differs" in message
    assert "Set val_data.dataset.metainfo.classes to the same names in the same order" in message


def test_misspelt_metainfo_is_refused(cli_error, annotations, tmp_path):
    data = {"type": "CocoDataset", "ann_file": str(annotations(lambda content: None))}
    data |= {"image_dir": ".", "metainfo": {"CLASSES": ["circle"]}}
    message = cli_error(
        "train", TINY, "--work-dir", tmp_path, "--cfg-options", f"train_data.dataset={data}"
    )
    assert message == "metainfo has 'CLASSES'; the key is 'classes', in lower case"
