import cv2
import numpy as np
import pytest
from mmengine.config import Config

from mmdet_lite.apis.browse import browse_dataset


def config():
    dataset = {"type": "ShapesDataset", "num_images": 5, "image_size": (60, 80)}
    pipeline = [{"type": "Resize", "scale": (120, 90)}, {"type": "RandomFlip", "prob": 0.5}]
    data = {"dataset": dataset | {"pipeline": pipeline}, "batch_size": 2, "num_workers": 2}
    return Config({"train_data": data, "val_data": data})


def test_pictures_are_saved_in_the_order_of_training(tmp_path):
    files = browse_dataset(config(), tmp_path, num=3, epoch=1)
    assert [file.name[:11] for file in files] == ["train_0000_", "train_0001_", "train_0002_"]
    picture = cv2.imread(str(files[0]))
    assert picture.shape[0] / picture.shape[1] == 96 / 128  # padded to the size divisor
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 100


def test_whole_validation_set_is_shown_once(tmp_path):
    files = browse_dataset(config(), tmp_path, split="val", num=100)
    assert [file.name for file in files] == [f"val_{i:04d}_image_{i + 1}.png" for i in range(5)]


def test_masks_are_drawn(tmp_path, monkeypatch):
    drawn = []

    def draw(image, boxes, labels, class_names, masks, ignore_boxes):
        drawn.append((image.shape, len(boxes), masks))
        return image

    monkeypatch.setattr("mmdet_lite.apis.browse.draw_instances", draw)
    browse_dataset(config(), tmp_path, num=2)
    for shape, count, masks in drawn:
        assert shape == (96, 128, 3)
        assert masks.shape == (count, 96, 128) and masks.any(axis=(1, 2)).all()


def test_data_sets_made_of_others_are_shown_at_the_fixed_size(tmp_path):
    cfg = config()
    leaf = cfg.train_data.dataset.to_dict()
    leaf["pipeline"].append({"type": "CopyPaste"})
    cfg.train_data.dataset = {"type": "RepeatDataset", "times": 2, "dataset": leaf}
    cfg.train_data.pad_size = (256, 160)
    files = browse_dataset(cfg, tmp_path, num=100)
    assert len(files) == 10
    picture = cv2.imread(str(files[0]))
    assert picture.shape[0] / picture.shape[1] == 160 / 256


def test_missing_split_is_named(tmp_path):
    with pytest.raises(ValueError, match="test_data"):
        browse_dataset(config(), tmp_path, split="test")
