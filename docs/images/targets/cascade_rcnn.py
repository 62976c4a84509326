# python tools/targets.py docs/images/targets/cascade_rcnn.py
# Cascade R-CNN with the demo's slim backbone, on procedural shapes.
_base_ = "faster_rcnn.py"
ious = [0.5, 0.6, 0.7]
stds = [[0.1, 0.1, 0.2, 0.2], [0.05, 0.05, 0.1, 0.1], [0.033, 0.033, 0.067, 0.067]]
model = dict(
    roi_head=dict(
        _delete_=True,
        type="CascadeRoIHead",
        stage_loss_weights=[1, 0.5, 0.25],
        assigner=[
            dict(
                type="MaxIoUAssigner",
                pos_iou_thr=iou,
                neg_iou_thr=iou,
                min_pos_iou=iou,
                match_low_quality=False,
            )
            for iou in ious
        ],
        sampler=[
            dict(type="RandomSampler", num=32, pos_fraction=0.25, add_gt_as_proposals=True)
            for _ in ious
        ],
        bbox_roi_extractor=dict(
            type="RoIExtractor", output_size=7, featmap_strides=[4, 8, 16, 32], finest_scale=28
        ),
        bbox_head=[
            dict(
                type="ConvFCBBoxHead",
                num_classes=6,
                in_channels=64,
                num_shared_fcs=2,
                fc_out_channels=256,
                bbox_coder=dict(type="DeltaXYWHBBoxCoder", target_stds=std),
                reg_class_agnostic=True,
                loss_cls=dict(type="CrossEntropyLoss"),
                loss_bbox=dict(type="SmoothL1Loss", beta=1.0),
                score_thr=0.05,
                nms=dict(type="NMS", iou_thr=0.5),
                max_per_img=100,
            )
            for std in stds
        ],
    ),
)
