# COCO 2017 (https://cocodataset.org) with boxes, in images of at most 640 x 640.
data_root = "data/coco/"
train_data = dict(
    batch_size=16,
    num_workers=8,
    dataset=dict(
        type="CocoDataset",
        ann_file=data_root + "annotations/instances_train2017.json",
        image_dir=data_root + "train2017/",
        bad_annotations="skip",  # a few boxes of train2017 have no area
        pipeline=[
            dict(type="Resize", scale=(640, 640)),
            dict(type="RandomFlip", prob=0.5),
        ],
    ),
)
val_data = dict(
    batch_size=16,
    num_workers=4,
    dataset=dict(
        type="CocoDataset",
        ann_file=data_root + "annotations/instances_val2017.json",
        image_dir=data_root + "val2017/",
        pipeline=[dict(type="Resize", scale=(640, 640))],
    ),
)
test_data = val_data
metric = dict(type="CocoMetric", metrics=["bbox"])
