"""What masks say of boxes and areas."""

from __future__ import annotations

import json

from mmdet_lite.data.problems import Problems
from mmdet_lite.data.shapes_dataset import ShapesDataset
from mmdet_lite.doctor.annotations import check_annotations


def test_areas_of_many_run_lengths_are_known():
    content = json.loads(json.dumps(ShapesDataset(num_images=90, image_size=(64, 64)).coco_dict()))
    report = check_annotations(content, Problems("shapes"), with_masks=True)
    assert len(report.mask_areas) > 255 and report.findings == []
    assert report.mask_areas.tolist() == [a["area"] for a in content["annotations"]]
