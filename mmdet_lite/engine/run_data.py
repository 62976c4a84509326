"""What the training loop reads from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from mmdet_lite.structures.samples import Batch

Evaluate = Callable[[nn.Module, Callable[[str], None]], dict[str, float]]


@dataclass
class RunData:
    """Training batches and validation.

    Attributes:
        make_loader: gives this process's endless stream of training batches from an iteration
            (from 0) on.
        iterations_per_epoch: iterations in which every image is seen once.
        batch_size: images an iteration, over all processes.
        evaluate: gives a model's metrics on the validation data, the main one first, the same on
            all processes; or None. It calls its second argument with the name of what it begins
            (see ``watchdog.PHASES``), 'validation' also every few batches, equally often on all
            processes; that call may break it off by an exception.
        metric_names: what ``evaluate`` will give, if that is known beforehand.
        draw: gives so many pictures of the last ``evaluate`` by name, (H, W, 3) uint8 RGB, on the
            main process; or None.
    """

    make_loader: Callable[[int], Iterable[Batch]]
    iterations_per_epoch: int
    batch_size: int
    evaluate: Evaluate | None = None
    metric_names: Sequence[str] | None = None
    draw: Callable[[int], dict[str, np.ndarray]] | None = None

    def check_metric(self, name: str | None, owner: str) -> None:
        """Refuse a metric that no validation will give, before there is anything to lose.

        Raises:
            ValueError: the names are known and ``name`` is not among them.
        """
        if name is not None and self.metric_names is not None and name not in self.metric_names:
            raise ValueError(
                f"{owner} is {name!r}, which is not among the metrics of the validation: "
                f"{', '.join(self.metric_names)}"
            )
