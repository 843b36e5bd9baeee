"""Forecasts of the remaining time count completed work, but not work found in the cache."""

import re

import pytest

from robustbench_wb import progress
from robustbench_wb.cli import console
from robustbench_wb.progress import JobForecast, JobTrackingProgress, SilentProgress, StageForecast
from tests.known import known


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
        self.done = self.seconds = self.found = 0.0

    def add_done(self, work: float, seconds: float) -> None:
        self.done += work
        self.seconds += seconds

    def add_skipped(self, work: float) -> None:
        self.found += work


def test_stages_advance_the_whole_by_their_share_of_its_work(clock: Clock) -> None:
    total = Total()
    tied = JobTrackingProgress(SilentProgress(), total)
    with tied.planned_work(100.0), tied.stage("train", 4, "steps") as advance:
        advance(1)  # at once, as after resuming from a snapshot
        clock.now = 10.0
        advance(2)
        assert (total.done, total.seconds, total.found) == (50.0, 10.0, 25.0)
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


def test_the_pace_of_a_stage_forecasts_what_is_left(clock: Clock) -> None:
    pace = StageForecast(200.0)
    assert pace.seconds_left is None
    clock.now, pace.done = 30.0, 50.0
    assert pace.seconds_left == pytest.approx(90.0)
    pace.total -= 100.0  # half of the work was cached
    assert pace.seconds_left == pytest.approx(30.0)


def test_a_slow_start_never_makes_the_forecast_of_a_job_absurd() -> None:
    job = JobForecast(69.0)
    assert job.seconds_left is None
    job.done, job.seconds = 0.002, 5.0  # the first cell: a few passes, and the imports of a worker
    assert known(job.seconds_left) < 2 * (69 + 10 * 5)


def test_the_pace_that_was_measured_prevails() -> None:
    """A machine three times as slow as the plan says: 300 seconds in truth, whoever planned 100."""
    job = JobForecast(100.0)
    left = []
    for done in (1.0, 25.0, 50.0, 90.0):
        job.done, job.seconds = done, 3 * done
        left.append(known(job.seconds_left) / (3 * (100 - done)))
    assert left == sorted(left)
    assert left[0] < 0.5  # near the plan
    assert 0.85 < left[2] < 1
    assert 0.9 < left[3] < 1


def test_a_model_that_is_not_timed_yet_is_named_in_the_line(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress_view("lines") as view, view.overall("suite", 0.0, partial=True) as whole:
        clock.now = 20.0
        whole.add_skipped(-50.0)  # the first model is built and timed
        clock.now = 40.0
        whole.add_done(25.0, 25.0)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "suite: 0 % done, nothing measured so far",
        "suite: 50 % done, at most 25 s left for the models timed so far",
    ]


def test_the_end_of_a_forecast_is_less_than_a_second(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress_view("lines") as view, view.overall("suite", 100.0, partial=False) as whole:
        with view.stage("train", 1000, "steps") as advance:
            clock.now = 20.0
            advance(999)
        whole.add_done(99.9, 20.0)
    assert capsys.readouterr().err.splitlines()[-2:] == [
        "train: 999/1000 steps, less than 1 s left",
        "suite: 100 % done, less than 1 s left",
    ]


def test_lines_leave_out_what_a_resumed_stage_begins_with(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress_view("lines") as view, view.overall("suite", 1000.0, partial=False) as whole:
        with view.stage("train", 100, "steps") as advance:
            advance(40)
            clock.now = 20.0
            advance(20)
        whole.add_skipped(400.0)
        clock.now = 40.0
        whole.add_done(300.0, 40.0)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "train: 60/100 steps, about 40 s left",
        "suite: 0 % done, nothing measured so far",
        "suite: 50 % done, at most 83 s left",  # 300 (40 + 60) / (300 + 60)
    ]


def test_bars_show_the_same(clock: Clock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "150")
    with console.progress_view("bar") as view, view.overall("suite", 10.0, partial=False) as whole:
        clock.now = 5.0
        whole.add_done(5.0, 5.0)
        vars(view)["bars"].refresh()
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", capsys.readouterr().err)
    assert "50 %" in shown
    assert "at most 5 s left" in shown
