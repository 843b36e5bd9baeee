"""Measured grades of the zoos: the page shows the committed file, and rates are counts by hand."""

import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow(4)
def test_the_page_shows_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = ROOT / "benchmarks"
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    grades = runpy.run_path(str(folder / "grades.py"))
    section = grades["measured_section"]()
    assert section in (ROOT / "docs" / "credibility.md").read_text(encoding="utf-8")
    every = grades["read_file"]()
    assert len(every) == sum(len(models) for zoo in grades["ZOOS"].values() for models in zoo)
    of_zoo = [one for one in every.values() if one.zoo == "held-out"]
    alarms = [one for one in of_zoo if not one.fake and one.grade in "CF"]
    honest = [one for one in of_zoo if not one.fake]
    assert f"{len(alarms)} of {len(honest)}, " in section
