# Your own data in COCO's form: a folder with train.json, val.json and images/, data/own/ or what
# MMDET_LITE_DATA names. `mmdet-lite convert` makes the json files from other formats.
data_root = "{{$MMDET_LITE_DATA:data/own}}/"
train_data = dict(
    batch_size=2,
    num_workers=2,
    dataset=dict(
        type="CocoDataset",
        ann_file=data_root + "train.json",
        image_dir=data_root + "images/",
        pipeline=[
            dict(type="Resize", scale=(1333, 800)),
            dict(type="RandomFlip", prob=0.5),
        ],
    ),
)
val_data = dict(
    batch_size=1,
    num_workers=2,
    dataset=dict(
        type="CocoDataset",
        ann_file=data_root + "val.json",
        image_dir=data_root + "images/",
        pipeline=[dict(type="Resize", scale=(1333, 800))],
    ),
)
test_data = val_data
metric = dict(type="CocoMetric", metrics=["bbox"])
