# COCO 2017 (https://cocodataset.org) with boxes, stretched to squares of 416 pixels.
data_root = "data/coco/"
train_data = dict(
    batch_size=96,
    num_workers=10,
    dataset=dict(
        type="CocoDataset",
        ann_file=data_root + "annotations/instances_train2017.json",
        image_dir=data_root + "train2017/",
        bad_annotations="skip",  # a few boxes of train2017 have no area
        pipeline=[
            dict(type="Resize", scale=(416, 416), keep_ratio=False),
            dict(type="RandomFlip", prob=0.5),
            dict(
                type="PhotometricDistortion",
                brightness_delta=51,  # 0.2 of 255
                contrast_range=(0.6, 1.4),
                saturation_range=(0.5, 1.2),
                hue_delta=0,
            ),
        ],
    ),
)
val_data = dict(
    batch_size=32,
    num_workers=4,
    dataset=dict(
        type="CocoDataset",
        ann_file=data_root + "annotations/instances_val2017.json",
        image_dir=data_root + "val2017/",
        pipeline=[dict(type="Resize", scale=(416, 416), keep_ratio=False)],
    ),
)
test_data = val_data
metric = dict(type="CocoMetric", metrics=["bbox"])
