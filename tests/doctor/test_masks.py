"""What masks say of boxes and areas."""

from __future__ import annotations

import json

from mmdet_lite.data.formats.files import joined_polygons
from mmdet_lite.data.problems import Problems
from mmdet_lite.data.shapes_dataset import ShapesDataset
from mmdet_lite.doctor.annotations import check_annotations


def test_areas_of_many_run_lengths_are_known():
    content = json.loads(json.dumps(ShapesDataset(num_images=90, image_size=(64, 64)).coco_dict()))
    report = check_annotations(content, Problems("shapes"), with_masks=True)
    assert len(report.mask_areas) > 255 and report.findings == []
    assert report.mask_areas.tolist() == [a["area"] for a in content["annotations"]]


def test_polygons_joined_by_lines_without_width_are_not_called_crossing():
    parts = [[10, 10, 20, 10, 20, 20, 10, 20], [2, 10, 2, 20, 6, 20], [30, 10, 40, 10, 40, 20]]
    polygon = joined_polygons(parts)  # the way to the third goes along the first
    image = {"id": 1, "file_name": "a.png", "height": 64, "width": 64}
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [2, 10, 38, 10], "area": 170}
    content = {
        "images": [image],
        "annotations": [annotation | {"segmentation": [polygon]}],
        "categories": [{"id": 1, "name": "rose"}],
    }
    report = check_annotations(content, Problems("a.json"), with_masks=True)
    assert report.findings == [] and report.mask_areas.tolist() == [170]
