"""What the documentation refers to exists: links, files, functions, configs, types, commands."""

from __future__ import annotations

import argparse
import ast
import builtins
import re
import shlex
from pathlib import Path

import pytest
import torch

from mmdet_lite import cli
from mmdet_lite.apis.config import load_config
from mmdet_lite.engine.checkpoint import CheckpointError
from mmdet_lite.registry import ALL_REGISTRIES

ROOT = Path(__file__).parents[2]
FOLDERS = ("mmdet_lite", "configs", "tools", "tests", "docs")
SUBCOMMANDS = {"check-dataset": "doctor"}  # of tools with another name than theirs
MMDETECTIONS = ("migrate.md", "from_mmdetection.md")  # pages full of its names
IN_A_WORK_DIR = (
    "data/",
    "work_dirs/",
    "my_",
    "mmdet3/",
)  # what a user has and the repository has not


def _anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _ticked(page) -> list[str]:
    return re.findall(r"`([^`\n]+)`", page.prose)


def _defined(tree: ast.Module | ast.ClassDef) -> dict[str, ast.AST]:
    kinds = (ast.FunctionDef, ast.ClassDef)
    return {node.name: node for node in tree.body if isinstance(node, kinds)}


def test_links_lead_somewhere(page):
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.prose):
        if re.match(r"https?://", target):
            continue
        file, _, anchor = target.partition("#")
        path = (page.path.parent / file).resolve() if file else page.path
        if not path.exists() or (anchor and anchor not in _anchors(path.read_text())):
            broken.append(target)
    assert not broken


def test_files_exist(page):
    """A path in backticks is one of the repository, in training_step.md also of the package."""
    roots = [ROOT, ROOT / "mmdet_lite"] if page.path.name == "training_step.md" else [ROOT]
    missing = []
    for text in _ticked(page):
        path = re.match(r"[\w./-]+(?=$|:)", text)
        is_file = path and "/" in path[0] and re.search(r"\.(py|md)$", path[0])
        is_folder = path and path[0].endswith("/") and path[0].startswith(FOLDERS)
        if not (is_file or is_folder) or path[0].startswith(IN_A_WORK_DIR):
            continue
        if not any((root / path[0]).exists() for root in roots):
            missing.append(path[0])
    assert not missing


def test_functions_are_where_the_page_says(page):
    missing = []
    for file, name in re.findall(r"`(mmdet_lite/[\w/]+\.py):([\w.]+)`", page.prose):
        node: ast.AST = ast.parse((ROOT / file).read_text())
        for part in name.split("."):
            node = _defined(node).get(part)
            if node is None:
                missing.append(f"{file}:{name}")
                break
    assert not missing


def test_configs_load(page):
    names = set(re.findall(r"configs/[\w/.-]+\.py", page.text))
    for name in sorted(names - {"configs/mask_rcnn/mask-rcnn_r50_fpn_3x_coco.py"}):
        assert load_config(ROOT / name).get("model") or "_base_" in name


def test_types_are_registered(page):
    """Every type='...' of a config, save those that the page itself defines."""
    used = set(re.findall(r"""\btype=["'](\w+)["']""", page.text))
    own = set(re.findall(r"^class (\w+)", page.text, re.M))
    known = {name for registry in ALL_REGISTRIES for name in registry.module_dict}
    known |= {"BN", "GN", "ConvWS", "DCN"}  # of norm_cfg, conv_cfg and dcn_cfg
    if page.path.name in MMDETECTIONS:
        return
    assert used <= known | own


def test_names_of_classes_exist(page):
    """CamelCase in backticks is a class of this package, of Python or of torch."""
    text = "" if page.path.name in MMDETECTIONS else page.prose
    words = {w for w in re.findall(r"`([A-Z][A-Za-z0-9]+)`", text) if re.search(r"[a-z][A-Z]", w)}
    own = set(re.findall(r"^class (\w+)", page.text, re.M))
    sources = (path.read_text() for path in (ROOT / "mmdet_lite").rglob("*.py"))
    ours = {name for source in sources for name in re.findall(r"^class (\w+)", source, re.M)}
    others = {CheckpointError.__name__, *dir(builtins), *dir(torch.optim), *dir(torch.nn)}
    assert words <= ours | own | others


def test_commands_are_accepted(page):
    """Commands of tools/*.py and mmdet-lite: arguments exist, and options fit the config."""
    for command, arguments in _commands(page):
        parser = argparse.ArgumentParser(exit_on_error=False)
        cli.COMMANDS[command].add_arguments(parser)
        args = parser.parse_args(arguments)
        config = getattr(args, "config", "")
        if config and not config.startswith(IN_A_WORK_DIR):
            load_config(
                ROOT / config if config.startswith("configs/") else config, args.cfg_options
            )


def _commands(page) -> list[tuple[str, list[str]]]:
    commands = []
    for block in page.blocks("bash"):
        for line in block.replace("\\\n", " ").splitlines():
            words = [w for w in shlex.split(line, comments=True) if not w.startswith("PYTHONPATH=")]
            if words[:1] == ["python"] and words[1].startswith("tools/"):
                name = Path(words[1]).stem.replace("_", "-")
                commands.append((SUBCOMMANDS.get(name, name), words[2:]))
            elif words[:1] == ["mmdet-lite"]:
                commands.append((words[1], words[2:]))
    return commands


def test_make_targets_exist(page):
    targets = set(re.findall(r"^make ([\w-]+)", "\n".join(page.blocks("bash")), re.M))
    assert targets <= set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_tree_of_the_readme_shows_the_folder(read_page, folder):
    tree = next(b for b in read_page("README.md").blocks("") if "registry.py" in b)
    assert re.search(rf"^{folder}/", tree, re.M)


def test_the_tree_of_the_readme_is_true(read_page):
    """Paths with a slash lie in the package; file names exist somewhere in it."""
    tree = next(b for b in read_page("README.md").blocks("") if "registry.py" in b)
    package = tree[: tree.index("configs/ ")]
    files = set(re.findall(r"[\w/]+\.py\b", package))
    present = {str(p.relative_to(ROOT / "mmdet_lite")) for p in (ROOT / "mmdet_lite").rglob("*.py")}
    lost = [f for f in files if not any(p == f or p.endswith("/" + f) for p in present)]
    assert not lost
