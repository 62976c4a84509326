"""The page as a file: what is in it, and that names from data stay names."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest

from mmdet_lite.visualization.report.page import page_html

EVIL = "</script><script>alert(1)</script><!--<img src=x onerror=alert(2)>&{{DATA}}\u2028"


class Elements(HTMLParser):
    """Start tags with their attributes, and the text of scripts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.tags and self.tags[-1][0] == "script" and data.strip():
            self.scripts.append(data)


@pytest.fixture(scope="module")
def page():
    return page_html({"title": EVIL, "classes": [EVIL, "\udcff"]})


def test_the_data_come_back_as_they_were(page):
    scripts = Elements(page).scripts
    assert json.loads(scripts[0])["title"] == EVIL
    assert json.loads(scripts[0])["classes"][0] == EVIL


def test_names_make_no_elements(page):
    parsed = Elements(page)
    assert [tag for tag, _ in parsed.tags].count("script") == 2
    assert "img" not in {tag for tag, _ in parsed.tags}
    assert "<!--" not in page


def test_the_page_loads_nothing(page):
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//", page)
    assert not re.search(r"@import|url\(", page)
    for _, attributes in Elements(page).tags:
        assert not {"src", "href"} & attributes.keys()


def test_only_the_script_of_the_page_may_run(page):
    parsed = Elements(page)
    policy = next(a["content"] for _, a in parsed.tags if "http-equiv" in a)
    digest = base64.b64encode(hashlib.sha256(parsed.scripts[1].encode()).digest()).decode()
    assert policy.startswith("default-src 'none';")
    assert f"script-src 'sha256-{digest}'" in policy


def test_scripts_never_write_markup(page):
    script = Elements(page).scripts[1]
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", script)


def test_a_value_that_is_not_json_is_refused():
    with pytest.raises(ValueError, match="not JSON compliant"):
        page_html({"title": "", "value": float("nan")})
