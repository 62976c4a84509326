# A small COCO-format set of 80 + 80 images; the folder can be given by MMDET_LITE_COCO_TINY.
data_root = "{{$MMDET_LITE_COCO_TINY:data/coco_tiny}}/"
train_data = dict(
    batch_size=2,
    num_workers=2,
    dataset=dict(
        type="CocoDataset",
        ann_file=data_root + "annotations/instances_train2017.json",
        image_dir=data_root + "train2017/",
        with_masks=True,
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
        ann_file=data_root + "annotations/instances_val2017.json",
        image_dir=data_root + "val2017/",
        with_masks=True,
        pipeline=[dict(type="Resize", scale=(1333, 800))],
    ),
)
test_data = val_data
metric = dict(type="CocoMetric", metrics=["bbox", "segm"])
