"""docs/systems: configs of the pages build, figures are those that the configs state."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from mmdet_lite.apis.config import load_config
from mmdet_lite.registry import MODELS, build

ROOT = Path(__file__).parents[2]
DRAWS = ROOT / "docs/images/targets/draw.py"
NAMES = sorted(f"docs/systems/{path.name}" for path in (ROOT / "docs/systems").glob("*.md"))
SMALL_CONFIGS = sorted({*(ROOT / "docs/images/targets").glob("*.py")} - {DRAWS})
MAX_BYTES = 150_000


@pytest.mark.parametrize("name", NAMES)
def test_a_changed_part_builds(name, write_files):
    (file,) = write_files(name)
    with torch.device("meta"):
        build(load_config(file).model, MODELS)


@pytest.mark.parametrize("name", NAMES)
def test_figures_are_those_of_the_configs(name, read_page):
    """A row of measured figures, or a sentence: what `config` reaches stands in its first lines."""
    text = " ".join(read_page(name).text.split())
    rows = re.findall(r"\| `(configs/[\w/.-]+)` \| [^|]+ \| (0\.\d+) \| ([^|]*) \|", text)
    rows += [(*found, "") for found in re.findall(r"`(configs/\S+)` reaches bbox_mAP (\S+)", text)]
    for config, figure, time in rows:
        comment = (ROOT / config).read_text().replace("\n# ", " ")
        assert f"bbox_mAP {figure}" in comment, config
        assert time.split(" an ")[0] in comment, config


@pytest.mark.parametrize("name", NAMES)
def test_a_page_says_what_was_not_measured(name, read_page):
    text = read_page(name).text
    assert "**Accuracy on full COCO has not been measured here" in text


def test_every_page_has_its_picture_of_targets(read_page):
    for name in NAMES:
        picture = ROOT / f"docs/images/targets/{Path(name).stem}.jpg"
        assert f"(../images/targets/{picture.name})" in read_page(name).text
        assert picture.stat().st_size < MAX_BYTES


@pytest.mark.parametrize("path", SMALL_CONFIGS, ids=lambda path: path.stem)
def test_a_small_config_of_a_picture_builds(path):
    with torch.device("meta"):
        build(load_config(path).model, MODELS)
