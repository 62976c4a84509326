"""The released models of MMDetection's four families that are trained and tested here too.

``zoo_models.json`` was made from the metafile.yml of MMDetection's configs/faster_rcnn, mask_rcnn,
cascade_rcnn and retinanet (3.3): names, configs, where the weights are, COCO AP in percent as its
authors measured it.
"""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PREFIX = "zoo:"
_TABLE = Path(__file__).with_name("zoo_models.json")


@dataclass(frozen=True)
class ZooModel:
    """A released model.

    Attributes:
        name: by which it is asked for.
        config: path of MMDetection's config; where there is one of that path here, it is the same.
        url: where the weights are.
        box_ap, mask_ap: COCO AP in percent.
    """

    name: str
    config: str
    url: str
    box_ap: float
    mask_ap: float | None = None

    @property
    def file_name(self) -> str:
        """Of the download."""
        return self.url.rpartition("/")[2]

    @property
    def sha256_prefix(self) -> str | None:
        """The first eight digits of its checksum, which stand at the end of its name."""
        found = re.search(r"-([0-9a-f]{8})\.pth$", self.url)
        return found[1] if found else None


@cache
def zoo_models() -> dict[str, ZooModel]:
    """All models by name."""
    rows = json.loads(_TABLE.read_text(encoding="utf-8"))
    return {row["name"]: ZooModel(**row) for row in rows}


def find_model(name: str) -> ZooModel:
    """The model of a name.

    Raises:
        ValueError: there is none; lists near matches.
    """
    models = zoo_models()
    if name not in models:
        near = difflib.get_close_matches(name, models, n=3, cutoff=0.4)
        hint = f"near matches: {', '.join(near)}; " if near else ""
        raise ValueError(f"the zoo has no model {name!r}; {hint}`mmdet-lite zoo list` shows all")
    return models[name]


def match_models(pattern: str | None) -> list[ZooModel]:
    """The models whose name contains a text.

    Args:
        pattern: the text; None: all models.
    """
    return [model for name, model in zoo_models().items() if pattern is None or pattern in name]
