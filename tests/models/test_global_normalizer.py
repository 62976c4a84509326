"""Two processes with half of the batch each have the gradient of one process with all of it."""

from __future__ import annotations

import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from reference import make_batch, make_gt

from mmdet_lite.models.coders import DeltaXYWHBBoxCoder
from mmdet_lite.models.dense_heads import YOLOv5Head
from mmdet_lite.models.losses.reduce import num_processes
from mmdet_lite.models.roi_heads import ConvFCBBoxHead, FCNMaskHead
from mmdet_lite.models.targets import BoxTargets
from mmdet_lite.registry import MODELS, build
from mmdet_lite.structures.samples import Batch, map_tensors

SIZE = (32, 48)
# The images have different numbers of samples, so the two normalisers differ.
BOXES = [torch.tensor([[2.0, 3, 20, 19], [20, 5, 44, 30]]), torch.tensor([[30.0, 10, 41, 21]])]
RPN = dict(
    type="RPNHead",
    in_channels=4,
    feat_channels=4,
    anchor_generator=dict(type="AnchorGenerator", scales=[3], ratios=[1.0], strides=[4]),
    bbox_coder=dict(type="DeltaXYWHBBoxCoder"),
    assigner=dict(type="MaxIoUAssigner", pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3),
    sampler=dict(type="RandomSampler", num=64, pos_fraction=0.5, neg_pos_ub=1),
    loss_cls=dict(type="BinaryCrossEntropyLoss"),
    loss_bbox=dict(type="L1Loss"),
    train_selector=dict(type="ProposalSelector", nms_pre=10, max_per_img=10),
    test_selector=dict(type="ProposalSelector", nms_pre=10, max_per_img=10),
)
BOX_HEAD = dict(
    type="ConvFCBBoxHead",
    num_classes=3,
    in_channels=4,
    fc_out_channels=4,
    roi_feat_size=2,
    bbox_coder=dict(type="DeltaXYWHBBoxCoder"),
    loss_cls=dict(type="CrossEntropyLoss"),
    loss_bbox=dict(type="L1Loss"),
)
MASK_HEAD = dict(
    type="FCNMaskHead",
    num_classes=3,
    in_channels=4,
    num_convs=1,
    conv_out_channels=4,
    roi_feat_size=2,
    loss_mask=dict(type="MaskCrossEntropyLoss"),
)
YOLOV5 = dict(
    type="YOLOv5Head",
    num_classes=3,
    in_channels=[4, 4],
    prior_generator=dict(
        type="YOLOAnchorGenerator",
        strides=[8, 16],
        base_sizes=[[(8, 8), (12, 10)], [(20, 16), (30, 30)]],
    ),
    assigner=dict(type="ShapeRatioAssigner"),
    loss_cls=dict(type="SigmoidCrossEntropyLoss"),
    loss_obj=dict(type="SigmoidCrossEntropyLoss"),
    loss_bbox=dict(type="CIoULoss", min_iou=0),
    obj_balance=[4.0, 1.0],
    autobalance=True,
)
YOLOV8 = dict(
    type="YOLOv8Head",
    num_classes=3,
    in_channels=[4],
    strides=[4],
    assigner=dict(type="TaskAlignedAssigner"),
    loss_cls=dict(type="SigmoidCrossEntropyLoss"),
    loss_bbox=dict(type="CIoULoss", min_iou=0),
    loss_dfl=dict(type="DistributionFocalLoss"),
)
NANODET_HEAD = dict(
    type="NanoDetPlusHead",
    num_classes=3,
    in_channels=4,
    feat_channels=4,
    strides=[4],
    bbox_coder=dict(type="DistributionCoder", num_bins=8, margin=0.1),
    assigner=dict(type="DynamicSoftLabelAssigner"),
    loss_cls=dict(type="QualityFocalLoss"),
    loss_bbox=dict(type="GIoULoss"),
    loss_dfl=dict(type="DistributionFocalLoss"),
)


def _rpn_gradient(images: slice, normalizer: str) -> torch.Tensor:
    torch.manual_seed(0)
    head = build(RPN | dict(normalizer=normalizer), MODELS)
    batch = make_batch(torch.zeros(2, 3, *SIZE), [SIZE] * 2, [SIZE] * 2, make_gt(BOXES))
    feats = torch.randn(2, 4, 8, 12, generator=torch.Generator().manual_seed(1))
    part = Batch(**vars(map_tensors(batch, lambda tensor: tensor[images])))
    return _gradient(head, head.loss(head([feats[images]]), part))


def _yolov8_gradient(images: slice, normalizer: str) -> torch.Tensor:
    torch.manual_seed(0)
    # Batch norms in evaluation mode: their statistics are of one process.
    head = build(YOLOV8 | dict(normalizer=normalizer), MODELS).eval()
    torch.nn.init.constant_(head.reg_branches[0][-1].bias, 0)
    batch = make_batch(torch.zeros(2, 3, *SIZE), [SIZE] * 2, [SIZE] * 2, make_gt(BOXES))
    feats = torch.randn(2, 4, 8, 12, generator=torch.Generator().manual_seed(1))
    part = Batch(**vars(map_tensors(batch, lambda tensor: tensor[images])))
    return _gradient(head, head.loss(head([feats[images]]), part))


def _nanodet_gradient(images: slice, normalizer: str) -> torch.Tensor:
    torch.manual_seed(0)
    head = build(NANODET_HEAD | dict(normalizer=normalizer), MODELS).eval()
    for conv in head.conv_cls:
        conv.bias.data.zero_()  # else the sum of the scores is below 1, where the rule is a limit
    batch = make_batch(torch.zeros(2, 3, *SIZE), [SIZE] * 2, [SIZE] * 2, make_gt(BOXES))
    feats = torch.randn(2, 4, 8, 12, generator=torch.Generator().manual_seed(1))
    part = Batch(**vars(map_tensors(batch, lambda tensor: tensor[images])))
    return _gradient(head, head.loss(head([feats[images]]), part))


def _bbox_targets() -> BoxTargets:
    generator = torch.Generator().manual_seed(2)
    labels = torch.tensor([[0, 1, 2, 3, 3, 3, 3, 3], [1, 3, 3, 3, 3, 3, 3, 3]])
    valid = torch.tensor([[True] * 8, [True] * 3 + [False] * 5])
    priors = torch.tensor([0.0, 0, 10, 10]).expand(2, 8, 4)
    boxes = DeltaXYWHBBoxCoder().encode(priors, priors + torch.rand(2, 8, 4, generator=generator))
    index = torch.zeros_like(labels)
    weights = valid.float()
    return BoxTargets(priors, index, labels, weights, boxes, labels < 3, valid, index, index)


def _bbox_gradient(images: slice, normalizer: str) -> torch.Tensor:
    torch.manual_seed(0)
    head: ConvFCBBoxHead = build(BOX_HEAD | dict(normalizer=normalizer), MODELS)
    feats = torch.randn(2, 8, 4, 2, 2, generator=torch.Generator().manual_seed(1))
    part = map_tensors(_bbox_targets(), lambda tensor: tensor[images])
    return _gradient(head, head.loss(*head(feats[images].flatten(0, 1)), part))


def _mask_gradient(images: slice, normalizer: str) -> torch.Tensor:
    torch.manual_seed(0)
    head: FCNMaskHead = build(MASK_HEAD | dict(normalizer=normalizer), MODELS)
    generator = torch.Generator().manual_seed(1)
    feats = torch.randn(2, 3, 4, 2, 2, generator=generator)[images].flatten(0, 1)
    targets = (torch.rand(2, 3, 4, 4, generator=generator) > 0.5)[images].flatten(0, 1)
    labels = torch.tensor([[0, 1, 2], [1, 3, 3]])[images].flatten()
    return _gradient(head, head.loss(head(feats), targets.float(), labels, labels < 3))


def _yolov5(images: slice, normalizer: str) -> tuple[YOLOv5Head, torch.Tensor]:
    """The head after a step, and its gradient for each image of all processes."""
    torch.manual_seed(0)
    head = build(YOLOV5 | dict(normalizer=normalizer), MODELS)
    batch = make_batch(torch.zeros(2, 3, *SIZE), [SIZE] * 2, [SIZE] * 2, make_gt(BOXES))
    generator = torch.Generator().manual_seed(1)
    feats = [torch.randn(2, 4, *shape, generator=generator)[images] for shape in [(4, 6), (2, 3)]]
    part = Batch(**vars(map_tensors(batch, lambda tensor: tensor[images])))
    gradient = _gradient(head, head.loss(head(feats), part))
    return head, gradient / (len(feats[0]) * num_processes())


def _yolov5_gradient(images: slice, normalizer: str) -> torch.Tensor:
    return _yolov5(images, normalizer)[1]


def _gradient(head: torch.nn.Module, losses: dict[str, torch.Tensor]) -> torch.Tensor:
    sum(value for name, value in losses.items() if "loss" in name).backward()
    return torch.cat([parameter.grad.flatten() for parameter in head.parameters()])


HEADS = {
    "rpn": _rpn_gradient,
    "bbox": _bbox_gradient,
    "mask": _mask_gradient,
    "yolov5": _yolov5_gradient,
    "yolov8": _yolov8_gradient,
    "nanodet": _nanodet_gradient,
}
# With 'rank' a process's losses are as many times larger as all have images more than it.
GROWTH = {"yolov8": 2}


def _averaged_gradients(rank: int, port: int, folder: str) -> None:
    """What DDP makes of two processes with one image each; rank 0 writes it down."""
    torch.set_num_threads(1)
    address = f"tcp://127.0.0.1:{port}"
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    gradients = {}
    for name, gradient in HEADS.items():
        for normalizer in ("rank", "global"):
            value = gradient(slice(rank, rank + 1), normalizer)
            dist.all_reduce(value)
            gradients[f"{name}_{normalizer}"] = value / 2
    for normalizer in ("rank", "global"):
        balance = _yolov5(slice(rank, rank + 1), normalizer)[0].obj_balance
        balances = [torch.zeros_like(balance) for _ in range(2)]
        dist.all_gather(balances, balance)
        gradients[f"balances_{normalizer}"] = torch.stack(balances)
    if rank == 0:
        torch.save(gradients, f"{folder}/gradients.pth")
    dist.barrier()
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def averaged(tmp_path_factory) -> dict[str, torch.Tensor]:
    folder = str(tmp_path_factory.mktemp("gradients"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(_averaged_gradients, args=(port, folder), nprocs=2)
    return torch.load(f"{folder}/gradients.pth", weights_only=True)


@pytest.mark.parametrize("name", HEADS)
def test_global_normalizer_gives_the_gradient_of_the_whole_batch(averaged, name):
    whole = HEADS[name](slice(None), "global")
    assert float(whole.abs().max()) > 1e-3
    torch.testing.assert_close(averaged[f"{name}_global"], whole)


@pytest.mark.parametrize("name", HEADS)
def test_rank_normalizer_weighs_every_process_alike(averaged, name):
    halves = [HEADS[name](slice(i, i + 1), "rank") for i in range(2)]
    expected = (halves[0] + halves[1]) / 2 * GROWTH.get(name, 1)
    torch.testing.assert_close(averaged[f"{name}_rank"], expected)
    difference = averaged[f"{name}_rank"] - HEADS[name](slice(None), "rank")
    assert float(difference.abs().max()) > 1e-4


@pytest.mark.parametrize("normalizer", ["rank", "global"])
def test_balances_of_levels_are_equal_on_all_processes(averaged, normalizer):
    ours, theirs = averaged[f"balances_{normalizer}"]
    assert torch.equal(ours, theirs)
    assert ours[0] != 4 and ours[1] == 1
    if normalizer == "global":
        torch.testing.assert_close(ours, _yolov5(slice(None), "global")[0].obj_balance)
