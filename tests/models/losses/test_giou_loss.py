"""GIoU loss on known boxes, degenerate ones, and against torchvision's."""

from __future__ import annotations

import torch
from torchvision.ops import generalized_box_iou_loss

from mmdet_lite.models.losses import GIoULoss


def _random_boxes(count: int, seed: int) -> torch.Tensor:
    points = torch.rand(count, 4, generator=torch.Generator().manual_seed(seed)) * 50
    return torch.cat([points[:, :2], points[:, :2] + points[:, 2:] + 1], dim=1)


def test_value_of_known_boxes():
    pred = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10]])
    target = torch.tensor([[0.0, 0, 10, 10], [20, 0, 30, 10]])
    loss = GIoULoss(loss_weight=3)(pred, target, torch.ones(2), 2)
    torch.testing.assert_close(loss, torch.tensor(3 * (0 + 4 / 3) / 2))


def test_value_and_gradient_equal_torchvision():
    pred, target = _random_boxes(20, 0).requires_grad_(), _random_boxes(20, 1)
    weight = torch.linspace(0, 1, 20)
    ours = GIoULoss()(pred, target, weight, 20)
    (our_grad,) = torch.autograd.grad(ours, pred)
    theirs = (generalized_box_iou_loss(pred, target) * weight).sum() / 20
    (their_grad,) = torch.autograd.grad(theirs, pred)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(our_grad, their_grad)


def test_empty_boxes_have_a_finite_loss_and_gradient():
    pred = torch.tensor([[5.0, 5, 5, 5], [0, 0, 0, 0], [8, 8, 3, 2]], requires_grad=True)
    target = torch.tensor([[0.0, 0, 10, 10], [0, 0, 0, 0], [0, 0, 1, 1]])
    loss = GIoULoss()(pred, target, torch.ones(3), 3)
    loss.backward()
    assert bool(torch.isfinite(loss))
    assert bool(torch.isfinite(pred.grad).all())
