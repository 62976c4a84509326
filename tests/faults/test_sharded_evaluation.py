"""Metrics and detections do not depend on how many processes evaluate, to the last digit."""

from __future__ import annotations

import json

import pytest
from comparison import assert_same, logged
from launching import CONFIG, REPOSITORY, Launch, alone, torchrun, train

from mmdet_lite.data.shapes_dataset import ShapesDataset
from mmdet_lite.engine.checkpoint import find_resume_checkpoint, load_checkpoint, save_checkpoint

pytestmark = pytest.mark.faults

SIZES = [(64, 64), (48, 80), (96, 56)]  # so that it matters which images are padded together
PER_SIZE = 5
TRAINING = {
    "train.max_iters": 150,
    "schedule.milestones": [1000],
    "train.ema": None,
    "train.val_interval": 150,
    "train.checkpoint_interval": 150,
    "train.log_interval": 50,
    "train_data.batch_size": 12,  # which 1, 2, 3 and 4 processes can share
    "train_data.num_workers": 1,
    "train_data.dataset.num_images": 24,
    "train_data.dataset.pipeline": [{"type": "RandomFlip", "prob": 0.5}],
    "model.backbone.norm_eval": True,
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder with a COCO data set of the shapes that are learned, in pictures of all sizes."""
    folder = tmp_path_factory.mktemp("pictures")
    merged = {"images": [], "annotations": []}
    for number, size in enumerate(SIZES):
        part = folder / str(number)
        content = json.loads(ShapesDataset(PER_SIZE, size, data_seed=0).write(part).read_text())
        for image in content["images"]:
            image["file_name"] = f"{number}/images/{image['file_name']}"
            image["id"] += 1000 * number
        for annotation in content["annotations"]:
            annotation["image_id"] += 1000 * number
            annotation["id"] += 100_000 * number
        merged["images"] += content["images"]
        merged["annotations"] += content["annotations"]
    merged["images"].sort(key=lambda image: image["id"] % 1000)  # sizes alternate
    merged["categories"] = content["categories"]
    (folder / "annotations.json").write_text(json.dumps(merged))
    return folder


@pytest.fixture(scope="module")
def configs(pictures, tmp_path_factory):
    """Config files: 'several sizes', and 'few images', fewer than there are processes."""
    several = {
        "type": "CocoDataset",
        "ann_file": str(pictures / "annotations.json"),
        "image_dir": str(pictures),
        "with_masks": True,
    }
    few = {"type": "ShapesDataset", "num_images": 2, "image_size": (64, 64)}
    folder = tmp_path_factory.mktemp("configs")
    return {
        "several sizes": write_config(folder / "several.py", several, batch_size=2),
        "few images": write_config(folder / "few.py", few, batch_size=1),
    }


def write_config(path, dataset, batch_size):
    path.write_text(
        f"_base_ = {str(CONFIG)!r}\n"
        f"val_data = dict(batch_size={batch_size}, dataset=dict(_delete_=True, **{dataset!r}))\n"
        "test_data = val_data\n"
    )
    return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A checkpoint of a model that finds something, as it is before the run's last validation."""
    folder = tmp_path_factory.mktemp("trained")
    with Launch(alone(train(folder / "run", TRAINING)), folder / "output.txt") as launch:
        launch.finish()
    state = load_checkpoint(find_resume_checkpoint(folder / "run"))
    save_checkpoint(state | {"validated": 0}, folder / "iter_150.pth")
    return folder / "iter_150.pth"


def in_processes(processes, script, output):
    command = alone(script) if processes == 1 else torchrun(processes, script)
    with Launch(command, output) as launch:
        return launch.finish()


@pytest.fixture(scope="module")
def evaluate(checkpoint, configs, tmp_path_factory):
    """Evaluate with a number of processes; gives metrics, boxes' file and masks' file."""

    def run(processes, config):
        folder = tmp_path_factory.mktemp("evaluated")
        results = ["--out", folder / "found", "--out-metrics", folder / "metrics.json"]
        script = [REPOSITORY / "tools/test.py", configs[config], checkpoint, *results]
        in_processes(processes, script, folder / "output.txt")
        metrics = json.loads((folder / "metrics.json").read_text())
        return [metrics, *((folder / f"found.{k}.json").read_bytes() for k in ("bbox", "segm"))]

    return run


def test_any_number_of_processes_gives_the_same_metrics_and_detections(evaluate, record_row):
    alone_metrics, boxes, masks = evaluate(1, "several sizes")
    assert min(alone_metrics["bbox_mAP"], alone_metrics["segm_mAP"]) > 0.01, alone_metrics
    for processes in (2, 3, 4):
        metrics, *files = evaluate(processes, "several sizes")
        assert metrics == alone_metrics
        assert files == [boxes, masks]
    record_row(
        "tools/test.py with 1, 2, 3 and 4 processes, batch 2, images of several sizes",
        f"all {len(alone_metrics)} metrics equal to the last digit (bbox_mAP "
        f"{alone_metrics['bbox_mAP']!r}, segm_mAP {alone_metrics['segm_mAP']!r}), the files of "
        f"{len(json.loads(boxes))} detections equal to the last byte",
        "nothing",
    )


def test_fewer_images_than_processes(evaluate, record_row):
    alone_results = evaluate(1, "few images")
    assert alone_results[0]["bbox_mAP"] > 0
    assert evaluate(4, "few images") == alone_results
    record_row(
        "a validation set of 2 images and 4 processes",
        "metrics and detections equal to those of one process",
        "nothing",
    )


def test_validation_in_training_gives_the_same_metrics(
    checkpoint, configs, evaluate, tmp_path, record_row
):
    expected = evaluate(1, "several sizes")[0]
    for processes in (1, 2, 4):
        work_dir = tmp_path / str(processes)
        options = TRAINING | {"train_data.batch_size": 12 // processes}
        config = configs["several sizes"]
        script = train(work_dir, options, "--resume", checkpoint, config=config)
        in_processes(processes, script, tmp_path / f"{processes}.txt")
        record = logged(work_dir)["val", 150]
        assert_same({name: record[name] for name in expected}, expected)
    record_row(
        "validation in training with 1, 2 and 4 processes",
        "all metrics equal to the last digit to those of tools/test.py",
        "nothing",
    )
