"""The site's pages beside those in docs/, and links that lead out of docs/.

README.md is the home page, CONTRIBUTING.md and CHANGELOG.md are pages as well. Another file of the
repository that a page links to is copied to the site as text. So what works on GitHub works there.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "CHANGELOG.md": "CHANGELOG.md",
}
_SOURCES = {page: source for source, page in PAGES.items()}
_BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the repository's root, and the files that any page links to."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    linked: set[str] = set()
    for file in files.documentation_pages():
        change_links(file.content_string, file.src_uri, linked.add)
    for source in sorted(linked):
        page = page_of(source)
        if files.get_file_from_path(page) is None:
            files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links lead to where their files stand in the site."""
    return change_links(markdown, page.file.src_uri)


def page_of(source: str) -> str:
    """Where the site has a file of the repository; both are relative, with slashes."""
    if source in PAGES:
        return PAGES[source]
    if source.startswith("docs/") and not source.endswith(".py"):  # browsers show no .py
        return source.removeprefix("docs/")
    return f"source/{source}.txt"


def change_links(markdown: str, page: str, found: Callable[[str], None] | None = None) -> str:
    """Replace the relative links of a page, outside of code blocks.

    Args:
        markdown: text of the page.
        page: its path in the site.
        found: told each linked file by its path in the repository.
    """
    source = _SOURCES.get(page, f"docs/{page}")

    def replace(link: re.Match) -> str:
        target, hash_, anchor = link[1].partition("#")
        if not target or re.match(r"\w+:", target):
            return link[0]
        file = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if found and (ROOT / file).is_file():
            found(file)
        return f"]({posixpath.relpath(page_of(file), posixpath.dirname(page))}{hash_}{anchor})"

    parts, end = [], 0
    for block in _BLOCK.finditer(markdown):
        parts += [_LINK.sub(replace, markdown[end : block.start()]), block[0]]
        end = block.end()
    return "".join([*parts, _LINK.sub(replace, markdown[end:])])
