"""The documentation as the tests see it: pages, their code blocks, and the files they hold."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mmdet_lite.registry import ALL_REGISTRIES

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# (\S+\.\w+)\n")  # a block that is a file says which in its first line


@dataclass
class Page:
    """One page of the documentation."""

    path: Path

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @property
    def prose(self) -> str:
        """The text without code blocks."""
        return _BLOCK.sub("", self.text)

    def blocks(self, language: str) -> list[str]:
        return [text for kind, text in _BLOCK.findall(self.text) if kind == language]

    def files(self) -> dict[str, str]:
        """Contents by name of the code blocks that are whole files."""
        blocks = self.blocks("python")
        return {found[1]: block for block in blocks if (found := _FILE.match(block))}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "page" in metafunc.fixturenames:
        pages = [Page(path) for path in PAGES]
        metafunc.parametrize("page", pages, ids=[page.name for page in pages])


@pytest.fixture
def read_page():
    """Gives a page of the documentation by its path in the repository."""
    return lambda name: Page(ROOT / name)


@pytest.fixture
def small() -> dict[str, object]:
    """Options that make the demo's run a matter of a second."""
    return {
        "model.backbone.base_channels": 8,
        "model.neck.in_channels": [8, 16, 32, 64],
        "model.neck.out_channels": 8,
        "model.rpn_head.in_channels": 8,
        "model.rpn_head.feat_channels": 8,
        "model.roi_head.bbox_head.in_channels": 8,
        "model.roi_head.bbox_head.fc_out_channels": 16,
        "model.roi_head.mask_head.in_channels": 8,
        "train_data.batch_size": 2,
        "train_data.num_workers": 0,
        "train_data.dataset.num_images": 4,
        "train_data.dataset.image_size": [64, 64],
        "val_data.num_workers": 0,
        "val_data.dataset.num_images": 2,
        "val_data.dataset.image_size": [64, 64],
        "train.max_iters": 2,
        "train.log_interval": 1,
    }


@pytest.fixture
def workspace(tmp_path, monkeypatch) -> Path:
    """A folder as a user has it: the configs are there, and modules in it can be imported."""
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.fixture
def write_files(workspace):
    """Writes the files that a page holds into the workspace."""

    def write(name: str) -> dict[str, Path]:
        paths = {}
        for file, text in Page(ROOT / name).files().items():
            paths[file] = workspace / file
            paths[file].parent.mkdir(parents=True, exist_ok=True)
            paths[file].write_text(text)
        return paths

    return write


@pytest.fixture(autouse=True)
def _restored_registries() -> Iterator[None]:
    """Forget the classes and modules that a test brought in."""
    for registry in ALL_REGISTRIES:
        registry.import_from_location()
    before = [dict(registry.module_dict) for registry in ALL_REGISTRIES]
    modules = set(sys.modules)
    yield
    for registry, known in zip(ALL_REGISTRIES, before, strict=True):
        for name in registry.module_dict.keys() - known.keys():
            del registry.module_dict[name]
    for name in sys.modules.keys() - modules:
        if name.startswith("my_"):
            del sys.modules[name]
