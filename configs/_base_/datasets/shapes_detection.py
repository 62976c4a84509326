# Procedural shapes of six classes, with boxes, in pictures of 128 x 128.
train_data = dict(
    batch_size=16,
    num_workers=1,
    dataset=dict(
        type="ShapesDataset",
        num_images=4000,
        image_size=(128, 128),
        data_seed=0,
        pipeline=[dict(type="RandomFlip", prob=0.5)],
    ),
)
val_data = dict(
    batch_size=16,
    num_workers=1,
    dataset=dict(type="ShapesDataset", num_images=200, image_size=(128, 128), data_seed=1),
)
test_data = val_data
metric = dict(type="CocoMetric", metrics=["bbox"])
