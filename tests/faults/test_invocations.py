"""Wrong invocations of the command line end with one line, never as a regression or an internal error."""

import os
import random
from itertools import islice
from pathlib import Path

import pytest

from robustbench_wb.cli.app import run_cli
from tests.faults.invocations import Arguments, prepare, with_files, with_values

REFUSED = {0, 2, 3, 4, 5}
"""Codes that a wrong invocation may end with. Some values, like a strange file name, are not wrong."""


@pytest.fixture
def place(cache: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with good files to damage."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(os.environ, "HF_HUB_OFFLINE", "1")
    prepare(tmp_path)
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    return tmp_path


def is_refused(arguments: Arguments, capsys: pytest.CaptureFixture[str]) -> bool:
    """Whether a command ends with one of the codes, and explains a 2 in its last line."""
    code = run_cli(list(arguments))
    told = capsys.readouterr().err.strip().splitlines()
    return code in REFUSED and (code != 2 or (bool(told) and told[-1].startswith("error: ")))


def generated(place: Path, seed: int) -> list[Arguments]:
    chance = random.Random(seed)
    return [*with_files(place, chance), *with_values(chance)]


@pytest.mark.slow(2)
def test_a_few_wrong_invocations_are_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    every = [one for one in generated(place, 1) if one[0] not in ("run", "doctor", "layers", "train", "selfcheck")]
    assert [one for one in islice(every, 0, None, 8) if not is_refused(one, capsys)] == []


@pytest.mark.slow(60)
def test_generated_wrong_invocations_are_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    every = generated(place, 0)
    assert len(every) >= 300
    assert [one for one in every if not is_refused(one, capsys)] == []
