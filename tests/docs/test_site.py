"""The site of the documentation: every page is in its menu, every public class in its reference.

The build is tried by `make test-slow`, where the extra ``docs`` is installed.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mmdet_lite.registry import ALL_REGISTRIES, OPTIMIZERS

ROOT = Path(__file__).parents[2]
HOOKS = ROOT / "docs/site/hooks.py"
OF_THE_ROOT = {"README.md": "index.md", "CONTRIBUTING.md": "CONTRIBUTING.md"}
OF_THE_ROOT |= {"CHANGELOG.md": "CHANGELOG.md"}
PACKAGES = ("assigners", "backbones", "coders", "dense_heads", "detectors", "losses")
PACKAGES += ("necks", "priors", "roi_heads", "samplers")
CONSTANTS = {"IGNORE", "NEGATIVE"}


class _Loader(yaml.SafeLoader):
    """Reads over what mkdocs.yml calls in Python."""


_Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)


def _menu(entries: list) -> list[str]:
    pages: list[str] = []
    for entry in entries:
        (value,) = entry.values()
        pages += [value] if isinstance(value, str) else _menu(value)
    return pages


def _reference() -> list[str]:
    """Dotted names that the reference describes."""
    pages = (path.read_text() for path in sorted((ROOT / "docs/api").glob("*.md")))
    return [name for page in pages for name in re.findall(r"^::: (\S+)$", page, re.M)]


def test_the_menu_has_every_page_once():
    config = yaml.load((ROOT / "mkdocs.yml").read_text(), _Loader)
    pages = [str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")]
    assert sorted(_menu(config["nav"])) == sorted([*pages, *OF_THE_ROOT.values()])


def test_what_the_reference_describes_exists():
    names = _reference()
    assert len(names) == len(set(names)) > 100
    for name in names:
        module, _, attribute = name.rpartition(".")
        assert getattr(importlib.import_module(module), attribute).__doc__, name


def test_the_reference_has_every_type_that_configs_name():
    described = {name.rpartition(".")[2] for name in _reference()}
    registered = {
        name
        for registry in ALL_REGISTRIES
        if registry is not OPTIMIZERS  # torch's
        for name, cls in registry.module_dict.items()
        if cls.__module__.startswith("mmdet_lite.")
    }
    assert registered <= described


@pytest.mark.parametrize("package", PACKAGES)
def test_the_reference_has_what_the_package_exports(package):
    described = {name.rpartition(".")[2] for name in _reference()}
    exported = importlib.import_module(f"mmdet_lite.models.{package}").__all__
    assert set(exported) - CONSTANTS <= described


@pytest.fixture
def hooks():
    pytest.importorskip("mkdocs")
    spec = importlib.util.spec_from_file_location("site_hooks", HOOKS)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "place, link, expected",
    [
        ("index.md", "docs/config.md#files", "config.md#files"),
        ("index.md", "CONTRIBUTING.md", "CONTRIBUTING.md"),
        ("config.md", "../README.md", "index.md"),
        ("config.md", "data.md#shapes", "data.md#shapes"),
        ("config.md", "#files", "#files"),
        ("config.md", "https://arxiv.org", "https://arxiv.org"),
        ("systems/fcos.md", "../../setup.py", "../source/setup.py.txt"),
        ("export.md", "examples/onnx_detect.py", "source/docs/examples/onnx_detect.py.txt"),
        ("systems/fcos.md", "../images/a.jpg", "../images/a.jpg"),
    ],
)
def test_links_lead_to_where_the_site_has_their_files(hooks, place, link, expected):
    text = f"[here]({link})\n```\n[code](docs/config.md)\n```\n"
    found: list[str] = []
    assert hooks.change_links(text, place, found.append) == text.replace(link, expected, 1)
    assert all((ROOT / file).is_file() for file in found)


@pytest.mark.slow
def test_the_site_builds_without_warnings_and_loads_nothing(tmp_path):
    pytest.importorskip("material")
    pytest.importorskip("mkdocstrings")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    for page in tmp_path.rglob("*.html"):
        text = page.read_text()
        loaded = re.findall(r"<(?:script|img|iframe)[^>]* src=\"?(https?:[^\"> ]+)", text)
        loaded += re.findall(r"<link[^>]* href=\"?(https?:[^\"> ]+)[^>]*stylesheet", text)
        assert not loaded, page
