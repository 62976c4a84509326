# COCO 2017 (https://cocodataset.org) with boxes, 640 x 640, as YOLOv8 trains from scratch:
# mosaics, moved and scaled, until the last 10 of 500 epochs.
data_root = "data/coco/"
affine = dict(type="RandomAffine", size=(640, 640), scale=(0.5, 1.5), translate=0.1)
train_data = dict(
    batch_size=16,
    num_workers=8,
    group_by_aspect=False,  # all images have one size
    dataset=dict(
        type="CocoDataset",
        ann_file=data_root + "annotations/instances_train2017.json",
        image_dir=data_root + "train2017/",
        bad_annotations="skip",  # a few boxes of train2017 have no area
        pipeline=[
            dict(
                type="UntilEpoch",
                epoch=490,  # change it with train.max_epochs
                transforms=[
                    dict(type="Mosaic", size=(640, 640)),
                    affine,
                ],
                then=[dict(type="Letterbox", size=(640, 640)), affine],
            ),
            dict(type="HSVJitter", hue=0.015, saturation=0.7, value=0.4),
            dict(type="RandomFlip", prob=0.5),
        ],
    ),
)
val_data = dict(
    batch_size=8,
    num_workers=4,
    dataset=dict(
        type="CocoDataset",
        ann_file=data_root + "annotations/instances_val2017.json",
        image_dir=data_root + "val2017/",
        pipeline=[dict(type="Letterbox", size=(640, 640))],
    ),
)
test_data = val_data
metric = dict(type="CocoMetric", metrics=["bbox"])
