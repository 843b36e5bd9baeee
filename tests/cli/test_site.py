"""``site``: linked pages without a broken link."""

from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.cli.test_history import three_versions

Typed = Callable[..., tuple[str, str]]


class Links(HTMLParser):
    """Targets and addresses of a page."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.targets: list[str] = []
        self.text: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids |= {given["id"]} if "id" in given else set()
        self.targets += [given[name] for name in ("href", "src") if name in given]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def broken_links(folder: Path) -> list[str]:
    pages = {page.name: Links(page) for page in folder.iterdir()}
    found = []
    for name, page in pages.items():
        for target in page.targets:
            file, _, anchor = target.partition("#")
            other = pages.get(file or name)
            if other is None or (anchor and anchor not in other.ids):
                found.append(f"{name}: {target}")
    return found


def test_pages_are_linked_and_no_link_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: Typed) -> None:
    monkeypatch.chdir(tmp_path)
    three_versions()
    _, err = typed("site", "public/pages", "--last", "1", "--results", str(tmp_path / "results"))
    assert err == "4 pages written to public/pages; open public/pages/index.html\n"
    folder = tmp_path / "public/pages"
    assert sorted(page.name for page in folder.iterdir()) == [
        "history.html",
        "index.html",
        "leaderboard.html",
        "v3.html",
    ]
    assert broken_links(folder) == []
    start = Links(folder / "index.html")
    assert {"leaderboard.html", "history.html", "v3.html"} <= set(start.targets)
    assert "v2.html" not in start.targets
    assert "worse" in Links(folder / "history.html").text
    assert not any(str(tmp_path) in page.read_text() for page in folder.iterdir() if page.name[0] != "v")
    (folder / "v3.html").unlink()
    assert "index.html: v3.html" in broken_links(folder)


def test_nothing_is_written_for_a_mistake(tmp_path: Path, typed: Typed) -> None:
    assert "no results" in typed("site", str(tmp_path / "a"), "--results", str(tmp_path / "none"), code=2)[1]
    assert "--last 0 is no number of versions" in typed("site", str(tmp_path / "a"), "--last", "0", code=2)[1]
    assert not (tmp_path / "a").exists()
