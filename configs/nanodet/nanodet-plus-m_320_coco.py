# python tools/train.py configs/nanodet/nanodet-plus-m_320_coco.py
# Not trained here yet. The original project gives AP 27.0 box for it.
_base_ = [
    "../_base_/models/nanodet-plus-m.py",
    "../_base_/datasets/coco_nanodet_320.py",
    "../_base_/schedules/schedule_nanodet_300e.py",
]
