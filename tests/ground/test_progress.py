"""Forecasts of the remaining time count completed work, but not work found in the cache."""

import re

import pytest

from robustbench_wb import progress
from robustbench_wb.cli import console
from robustbench_wb.progress import JobTrackingProgress, SilentProgress, TimeForecast


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(progress, "time", found)
    monkeypatch.setattr(console, "time", found)
    return found


class Total:
    def __init__(self) -> None:
        self.done = self.found = 0.0

    def add_done(self, work: float) -> None:
        self.done += work

    def add_skipped(self, work: float) -> None:
        self.found += work


def test_stages_advance_the_whole_by_their_share_of_its_work(clock: Clock) -> None:
    total = Total()
    tied = JobTrackingProgress(SilentProgress(), total)
    with tied.planned_work(100.0), tied.stage("train", 4, "steps") as advance:
        advance(1)  # at once, as after resuming from a snapshot
        clock.now = 10.0
        advance(2)
        assert (total.done, total.found) == (50.0, 25.0)
    assert (total.done, total.found) == (50.0, 50.0)  # the last step was not needed


def test_what_follows_the_first_report_was_done_however_soon(clock: Clock) -> None:
    total = Total()
    tied = JobTrackingProgress(SilentProgress(), total)
    with tied.planned_work(100.0), tied.stage("noise", 4, "samples") as advance:
        advance(0)
        clock.now = 0.02
        advance(4)
    assert (total.done, total.found) == (100.0, 0.0)


def test_a_piece_without_a_stage_was_found(clock: Clock) -> None:
    total = Total()
    with JobTrackingProgress(SilentProgress(), total).planned_work(7.0):
        pass
    assert (total.done, total.found) == (0.0, 7.0)


def test_a_stage_outside_of_any_piece_does_not_move_the_whole(clock: Clock) -> None:
    total = Total()
    with JobTrackingProgress(SilentProgress(), total).stage("make", 3, "samples") as advance:
        clock.now = 1.0
        advance(3)
    assert (total.done, total.found) == (0.0, 0.0)


def test_the_pace_forecasts_what_is_left(clock: Clock) -> None:
    pace = TimeForecast(200.0)
    assert pace.seconds_left is None
    clock.now, pace.done = 30.0, 50.0
    assert pace.seconds_left == pytest.approx(90.0)
    pace.total -= 100.0  # half of the work was cached
    assert pace.seconds_left == pytest.approx(30.0)


def test_lines_leave_out_what_a_resumed_stage_begins_with(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress_view("lines") as view, view.overall("suite", 1000.0) as whole:
        with view.stage("train", 100, "steps") as advance:
            advance(40)
            clock.now = 20.0
            advance(20)
        whole.add_skipped(400.0)
        clock.now = 40.0
        whole.add_done(300.0)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["train: 60/100 steps, about 40 s left", "suite: 50 % done, at most 40 s left"]


def test_bars_show_the_same(clock: Clock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "150")
    with console.progress_view("bar") as view, view.overall("suite", 10.0) as whole:
        clock.now = 5.0
        whole.add_done(5.0)
        vars(view)["bars"].refresh()
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", capsys.readouterr().err)
    assert "50 %" in shown
    assert "at most 5 s left" in shown
