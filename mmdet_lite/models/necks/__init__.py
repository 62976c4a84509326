"""Necks: from backbone maps to the maps that heads look at."""

from mmdet_lite.models.necks.csp_pan import CSPPAN
from mmdet_lite.models.necks.fpn import FPN
from mmdet_lite.models.necks.ghost_pan import GhostPAN

__all__ = ["CSPPAN", "FPN", "GhostPAN"]
