# COCO 2017 (https://cocodataset.org) with boxes and masks, in the standard 1333 x 800 setting.
data_root = "data/coco/"
train_data = dict(
    batch_size=2,
    num_workers=4,
    dataset=dict(
        type="CocoDataset",
        ann_file=data_root + "annotations/instances_train2017.json",
        image_dir=data_root + "train2017/",
        with_masks=True,
        bad_annotations="skip",  # a few boxes of train2017 have no area
        filter_empty_gt=True,
        pipeline=[
            dict(type="Resize", scale=(1333, 800)),
            dict(type="RandomFlip", prob=0.5),
        ],
    ),
)
val_data = dict(
    batch_size=1,
    num_workers=4,
    dataset=dict(
        type="CocoDataset",
        ann_file=data_root + "annotations/instances_val2017.json",
        image_dir=data_root + "val2017/",
        with_masks=True,
        pipeline=[dict(type="Resize", scale=(1333, 800))],
    ),
)
test_data = val_data
metric = dict(type="CocoMetric", metrics=["bbox", "segm"])
