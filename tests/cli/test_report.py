"""``report`` through the command: what it reads, what it writes, and what it refuses."""

import base64
import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from robustbench_wb.api.report import report
from robustbench_wb.cli.app import run_cli
from robustbench_wb.report.csv import rows_csv
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.store.score_table import ScoreTable
from robustbench_wb.tasks.task import Dataset
from tests.store.make import record, row

Command = Callable[..., str]

FELL = {"vit": (3, 5), "crate": (5, 9)}
"""Samples that each subject loses under the stronger attack."""


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    monkeypatch.chdir(tmp_path)

    def typed(*arguments: str, code: int = 0) -> str:
        capsys.readouterr()
        found = run_cli(["report", *arguments])
        err = capsys.readouterr().err
        assert found == code, err
        return err

    return typed


def commit(data: str, lost: int = 0) -> None:
    """One more version of twelve real digits under two attacks; ``lost`` more samples fall under the stronger one."""
    rows = []
    for variant, fell in FELL.items():
        for strength, broken in (("4/255", fell[:1]), ("8/255", (*fell, *range(6, 6 + lost)))):
            states = [1 if sample in broken else 0 for sample in range(12)]
            made = record(states, data=data, signature=f"pgd;eps={strength}", weights=f"{variant}{lost}")
            RecordStore("results").append(made)
            rows.append(row(made, variant=variant, strength=strength, side=8, classes=10))
    ScoreTable("results").commit(rows, {"command": "robustbench-wb run <&>", "git": {"commit": "c0ffee"}})


def test_a_version_becomes_a_file_with_its_provenance(command: Command, tmp_path: Path) -> None:
    commit("data")
    assert re.fullmatch(r"4 rows of v1 written to out.html, [\d,]+ bytes\n", command("--html", "out.html"))
    text = (tmp_path / "out.html").read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    assert "robustbench-wb run &lt;&amp;&gt;" in text
    assert "commit: c0ffee" in text
    assert 'href="#changes"' not in text
    command("v1", "--html", "again.html")
    assert (tmp_path / "again.html").read_bytes() == (tmp_path / "out.html").read_bytes()


def test_a_file_of_leaderboard_will_do(command: Command, tmp_path: Path) -> None:
    (tmp_path / "board.csv").write_text(rows_csv([row()]), newline="")
    assert command("board.csv", "--html", "out.html").startswith("1 row of board.csv")
    assert "Provenance" not in (tmp_path / "out.html").read_text()


def test_what_changed_is_compared_as_diff_compares_it(command: Command, tmp_path: Path) -> None:
    commit("data")
    commit("data", lost=3)
    command("HEAD", "--html", "out.html", "--against", "HEAD~1")
    text = (tmp_path / "out.html").read_text()
    changes = text[text.index('<section id="changes"') :].partition("</section>")[0]
    assert "v1 -&gt; v2" in changes
    table_rows = re.findall("<tr>(.*?)</tr>", changes, re.DOTALL)
    lines = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line) for line in table_rows]
    lost = [(line[0], line[4], line[5]) for line in lines if line[0].startswith("pgd")]
    assert lost == [("pgd-linf@4/255", "0", "0"), ("pgd-linf@8/255", "3", "0")] * 2


def test_the_gallery_shows_what_fell_for_the_fewest_first(command: Command, digits: Dataset) -> None:
    commit(digits.test.digest())
    (found,) = report(gallery=True).gallery
    assert found.title == "digits, small scale: pgd-linf@8/255"
    assert "3 samples are broken for at least one of 2 models" in found.note
    names = [(picture.name, picture.broken) for picture in found.samples]
    labels = digits.test.labels
    assert names == [
        (f"sample 3, class {digits.classes[labels[3]]}", "broken for vit-nano"),
        (f"sample 9, class {digits.classes[labels[9]]}", "broken for crate-nano"),
        (f"sample 5, class {digits.classes[labels[5]]}", "broken for all models"),
    ]
    ((source, what),) = found.samples[0].images
    assert what == "clean"
    assert "some perturbed samples are not available: no request" in found.note
    kind, _, content = source.partition(",")
    assert kind == "data:image/png;base64"
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))
    assert np.array_equal(image, digits.test.inputs[3][0])


def test_the_gallery_refuses_other_images_than_were_measured(command: Command) -> None:
    commit("other data")
    (found,) = report(gallery=True).gallery
    assert found.samples == ()
    assert found.note == "the loaded samples differ from the measured samples"
    assert report().gallery == ()


def test_what_cannot_be_read_or_written_is_one_line_and_no_file(command: Command, tmp_path: Path) -> None:
    assert "no results under 'results' yet" in command("--html", "out.html", code=2)
    commit("data")
    assert "there is no version 'v9'" in command("v9", "--html", "out.html", code=2)
    assert "there is no version 'v7'" in command("--html", "out.html", "--against", "v7", code=2)
    assert "cannot be written" in command("--html", "no/such/folder/out.html", code=2)
    assert "--html" in command(code=2)
    assert not list(tmp_path.glob("*.html"))
