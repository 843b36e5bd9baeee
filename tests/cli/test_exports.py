"""Where output goes: files, links, devices and pipes that a user names, and a reader that has enough."""

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from robustbench_wb.cli import console
from robustbench_wb.store.score_table import ScoreTable
from tests.store.make import row

Typed = Callable[..., tuple[str, str]]
RESULTS = "results"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with one row of results."""
    monkeypatch.chdir(tmp_path)
    ScoreTable(RESULTS).commit([row()], {})
    return tmp_path


def test_a_link_stays_and_a_file_keeps_its_permissions(typed: Typed, place: Path) -> None:
    (place / "real.csv").write_text("old")
    (place / "real.csv").chmod(0o640)
    for link, target in (("link.csv", "real.csv"), ("dangling.csv", "new.csv")):
        (place / link).symlink_to(target)
        typed("leaderboard", "--csv", link)
        assert (place / link).is_symlink()
        assert (place / target).read_text().startswith("suite,")
    assert stat.S_IMODE((place / "real.csv").stat().st_mode) == 0o640
    assert not list(place.glob(".tmp-*"))


@pytest.mark.parametrize("option", ["--csv", "--ranking-csv", "--markdown", "--html"])
def test_a_pipe_is_written_through(option: str, typed: Typed, place: Path) -> None:
    os.mkfifo(place / "pipe")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append((place / "pipe").read_text()))
    reader.start()
    typed("leaderboard", option, "pipe")
    reader.join(timeout=10)
    assert len(read[0]) > 100
    assert (place / "pipe").is_fifo()


def test_devices_stay_devices(typed: Typed) -> None:
    for name, code in (("/dev/null", 0), ("/dev/full", 2)):
        _, err = typed("leaderboard", "--csv", name, code=code)
        assert Path(name).is_char_device()
    assert err == "error: /dev/full cannot be written: No space left on device\n"


def test_what_no_file_can_hold_is_one_line(typed: Typed) -> None:
    assert typed("leaderboard", "--csv", "a\0b", code=2)[1].startswith("error: a?b cannot be written: ")
    assert "Is a directory" in typed("leaderboard", "--csv", ".", code=2)[1]
    assert "\\udcff" in typed("show", "\udcff", code=2)[1]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("leaderboard", "--csv", ""), "the name of the file is empty"),
        (("site", ""), "the name of the folder is empty"),
        (("report", "--figures", " "), "the name of the folder is empty"),
        (("site", "taken"), "taken is not a folder"),
        (("report", "--figures", "taken"), "taken is not a folder"),
    ],
)
def test_names_that_hold_no_results_are_refused_before_work(
    command: Sequence[str], said: str, typed: Typed, place: Path
) -> None:
    Path("taken").write_text("mine")
    before = sorted(place.iterdir())
    assert said in typed(*command, code=2)[1]
    assert sorted(place.iterdir()) == before
    assert Path("taken").read_text() == "mine"


def test_a_reader_that_has_enough_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = os.pipe()
    os.close(ends[0])
    with os.fdopen(ends[1], "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        console.show("a" * 100_000)
        console.show("more")
        monkeypatch.undo()


@pytest.mark.slow(4)
@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("leaderboard | true", 0, ""),
        ("show v1 --json | true", 0, ""),
        ("--help | true", 0, ""),
        ("show v9 2>&1 | true", 2, ""),
        ("leaderboard >&-", 0, ""),
        ("leaderboard > /dev/full", 2, "error: standard output cannot be written: No space left on device\n"),
        ("leaderboard --csv /dev/stdout > out.csv", 0, "1 row of v1 written to /dev/stdout\n"),
    ],
)
def test_streams_of_a_shell(command: str, code: int, said: str, place: Path) -> None:
    harness = f"{sys.executable} -m robustbench_wb {command}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", harness], cwd=place, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (code, said)
    if "out.csv" in command:
        assert (place / "out.csv").read_text().count("\n") == 2
