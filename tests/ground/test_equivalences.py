"""Digests of code that are listed as equivalent: chains are followed, circles are refused, the list is well formed."""

import json
import re
from pathlib import Path

import pytest

from robustbench_wb import equivalences
from robustbench_wb.equivalences import LISTED, earliest, read_equivalences, same_code
from robustbench_wb.errors import HarnessError


def write(path: Path, *pairs: tuple[str, str]) -> Path:
    path.write_text(json.dumps({"equivalences": [{"old": old, "new": new} for old, new in pairs]}))
    return path


def test_a_chain_leads_to_its_oldest_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = write(tmp_path / "list.json", ("a", "b"), ("b", "c"), ("x", "y"), ("other", "b"))
    monkeypatch.setattr(equivalences, "LISTED", listed)
    assert [earliest(code) for code in ("a", "b", "c", "y", "z")] == ["a", "a", "a", "x", "z"]
    assert same_code("a", "c")
    assert same_code("c", "b")
    assert same_code("c+y", "a+x")
    assert not same_code("c+y", "x+a")
    assert not same_code("a", "x")
    assert not same_code("a+x", "a")
    assert not same_code("z", "other")
    assert same_code("z", "z")


@pytest.mark.parametrize("pairs", [[("a", "a")], [("a", "b"), ("b", "a")], [("a", "b"), ("b", "c"), ("c", "a")]])
def test_a_circle_is_refused(pairs: list[tuple[str, str]], tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"back to itself"):
        read_equivalences(write(tmp_path / "list.json", ("c", "d"), *pairs))


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"equivalences": [{"old": "a"}]}'])
def test_a_damaged_list_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    path.write_text(text)
    with pytest.raises(HarnessError, match="cannot be read"):
        read_equivalences(path)


def test_the_committed_list_names_its_evidence() -> None:
    assert read_equivalences(LISTED)
    for entry in json.loads(LISTED.read_text())["equivalences"]:
        assert all(re.fullmatch(r"[0-9a-f]{64}", entry[side]) for side in ("old", "new"))
        assert entry["kind"] in ("stressor", "model", "shared", "other")
        evidence = entry["evidence"]
        assert re.fullmatch(r"[0-9a-f]{64}", evidence["golden"])
        assert re.fullmatch(r"[0-9a-f]{40}", evidence["old_commit"])
        assert min(evidence["records"], evidence["runs"], evidence["samples"]) > 0
