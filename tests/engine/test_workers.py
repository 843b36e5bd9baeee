"""Several processes measure: the same numbers as one, whoever dies."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from robustbench_wb.api import run as harness
from robustbench_wb.engine import executors
from robustbench_wb.engine import run as carried_out
from robustbench_wb.engine.pool_executor import TERM_SECONDS
from robustbench_wb.engine.prepared_run import PreparedRun
from robustbench_wb.engine.record_keeper import NoRecords
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.errors import ExitCode
from robustbench_wb.progress import Advance, JobProgress, SilentProgress
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.store.record_store import RecordStore
from tests.engine.linear_model import LINEAR
from tests.engine.logged import events

pytestmark = pytest.mark.full_probe  # workers know nothing of a shorter one
MODELS = f"""{LINEAR}
import multiprocessing, os, signal, time

class Fragile(Linear):
    def forward(self, images):
        if images.requires_grad:
            raise ValueError("no gradients here")
        return super().forward(images)

def fragile(shape):
    return Fragile(shape)

class Deadly(Linear):
    def forward(self, images):
        # Not when the model is timed, on eight images.
        if images.requires_grad and len(images) > 8 and multiprocessing.parent_process() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(images)

def deadly(shape):
    return Deadly(shape)

class DeadlyOnce(Linear):
    def forward(self, images):
        died = os.path.abspath(__file__) + ".died"
        attacked = images.requires_grad and len(images) > 8
        if attacked and multiprocessing.parent_process() is not None and not os.path.exists(died):
            open(died, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(images)

def deadly_once(shape):
    return DeadlyOnce(shape)

class Sluggish(Linear):
    def forward(self, images):
        if images.requires_grad and multiprocessing.parent_process() is not None:
            time.sleep(0.05)
        return super().forward(images)

def sluggish(shape):
    return Sluggish(shape)

class Slow(Linear):
    def forward(self, images):
        # Not when the model is timed, on eight images.
        if images.requires_grad and len(images) > 8 and multiprocessing.parent_process() is not None:
            open(os.environ["RBWB_TEST_PIDS"] + "/" + str(os.getpid()), "w").close()
            time.sleep(60)
        return super().forward(images)

def slow(shape):
    return Slow(shape)

class Learning(Linear):
    def forward(self, images):
        if self.training and len(images) > 8:
            open(os.environ["RBWB_TEST_PIDS"] + "/" + str(os.getpid()), "w").close()
            time.sleep(0.05)
        return super().forward(images)

def learning(shape):
    return Learning(shape)
"""
STRESSORS = (
    "pgd-linf;eps=1/255;steps=5",
    "quick-linf;eps=8/255",
    "gaussian-noise;severity=3",
    "transfer-linf;source=MODEL;eps=16/255;steps=3",
    "label-noise;rate=1/5",
)


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "model.py"
    path.write_text(MODELS)
    return str(path)


def request(model: str, *factories: str, **changes: object) -> RunRequest:
    fields: dict[str, object] = {
        "variants": tuple(f"{model}:{factory}" for factory in factories),
        "stressors": tuple(signature.replace("MODEL", f"{model}:make") for signature in STRESSORS),
        "samples": 80,
        "device": "cpu",
    }
    return RunRequest.model_validate({**fields, **changes})


def numbers(rows: Sequence[ScoreRow]) -> list[dict[str, object]]:
    return [row.model_dump(exclude={"seconds", "train_seconds", "checksum"}) for row in rows]


@pytest.mark.slow(15)
def test_any_number_of_workers_measures_the_same(model: str, tmp_path: Path) -> None:
    places = {workers: str(tmp_path / f"by-{workers}") for workers in (1, 3)}
    reports = {
        workers: harness.run(request(model, "make", "fragile", workers=workers), place)
        for workers, place in places.items()
    }
    alone, shared = reports[1], reports[3]
    assert numbers(shared.rows) == numbers(alone.rows)
    assert (shared.measured, shared.exit_code) == (alone.measured, ExitCode.INCOMPLETE)
    assert {row.wobble for row in shared.rows} == {0}
    assert {row.stressor for row in shared.rows if row.status == "error"} == {"pgd-linf", "quick-linf"}
    keys = [row.key for row in alone.rows if row.status == "ok"]
    ours, theirs = (RecordStore(place).find(keys) for place in places.values())
    assert ours.keys() == theirs.keys() == set(keys)
    for key in keys:
        np.testing.assert_array_equal(ours[key].states, theirs[key].states)
        np.testing.assert_allclose(ours[key].losses, theirs[key].losses, rtol=1e-4, atol=1e-5)


@pytest.mark.slow(5)
def test_a_warning_about_data_is_told_once(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8), (99, 0, len(name))).save(tmp_path / "pictures" / name / "0.png")
    (tmp_path / "pictures" / "a" / "0.heic").write_bytes(b"of another format")
    command = [sys.executable, "-m", "robustbench_wb", "run", "--variant", "vit", "--recipe", "none", "--workers", "2"]
    command += ["--task", "folder:pictures", "--stressor", "fgsm-linf;eps=8/255", "--progress", "none"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("left out") == 1


@pytest.mark.slow(5)
def test_a_script_that_runs_at_once_needs_no_guard(model: str, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        "from robustbench_wb import run\n"
        f"found = run(variants={[f'{model}:make']!r}, stressors=['fgsm-linf;eps=8/255'], workers=2, device='cpu')\n"
        "print(len(found.rows), found.measured)\n"
    )
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "2 2\n"), done.stderr


@pytest.mark.slow(10)
def test_a_shard_whose_worker_dies_is_measured_by_another(model: str, tmp_path: Path) -> None:
    stressors = ("pgd-linf;eps=8/255;steps=5", "square-linf;eps=16/255;queries=20")
    asked = request(model, "deadly_once", stressors=stressors)
    alone = harness.run(asked, str(tmp_path / "alone"))
    log = str(tmp_path / "log.jsonl")
    shared = harness.run(asked.model_copy(update={"workers": 2}), str(tmp_path / "shared"), log=log)
    assert Path(f"{model}.died").exists()
    assert shared.exit_code == ExitCode.OK
    assert numbers(shared.rows) == numbers(alone.rows)
    (lost,) = events(log, "lost")
    assert "SIGKILL" in str(lost["reason"])
    again = [shard for shard in events(log, "shard") if shard["attempt"] == 2]
    assert [(shard["stressor"], shard["first"]) for shard in again] == [(lost["stressor"], lost["first"])]


@pytest.mark.slow(15)
def test_a_shard_that_kills_every_worker_is_an_error_row(model: str, tmp_path: Path) -> None:
    stressors = ("pgd-linf;eps=8/255;steps=5", "gaussian-noise;severity=3")
    found = harness.run(request(model, "deadly", "make", stressors=stressors, workers=2), str(tmp_path / "results"))
    errors = {(row.variant.rpartition(":")[2], row.stressor): row.error for row in found.rows if row.error}
    words = f"{model}:deadly: its process was ended by SIGKILL; the memory may have run out"
    assert errors == {("deadly", "pgd-linf"): words}
    assert len(found.rows) == 6


@pytest.mark.slow(5)
def test_where_all_is_known_no_process_is_started(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = str(tmp_path / "results")
    first = harness.run(request(model, "make"), place)

    def refuse(*args: object, **named: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(executors, "ProcessExecutor", refuse)
    again = harness.run(request(model, "make", workers=2), place)
    assert (again.measured, again.reused) == (0, len(first.rows))
    assert numbers(again.rows) == numbers(first.rows)


class Recorded(SilentProgress):
    """Progress that remembers what it was told of the whole, and when a ladder was done."""

    def __init__(self) -> None:
        self.planned, self.done, self.told = 0.0, 0.0, 0.0
        self.events: list[str] = []

    @contextmanager
    def stage(self, label: str, total: int, unit: str) -> Iterator[Advance]:
        yield lambda count: self.events.append(unit)

    @contextmanager
    def overall(self, label: str, work: float, *, partial: bool) -> Iterator[JobProgress]:
        self.planned = work
        yield self

    def add_done(self, work: float, seconds: float) -> None:
        self.told += work
        self.done += work
        if work > 0:
            self.events.append("work")

    def add_skipped(self, work: float) -> None:
        self.told += work


@pytest.mark.slow(15)
def test_the_forecast_moves_while_a_ladder_is_measured(model: str) -> None:
    heard = Recorded()
    stressors = ("pgd-linf;eps=1/255;steps=30;loss=ce", "fgsm-linf;eps=1/255")
    job = PreparedRun(request(model, "sluggish", stressors=stressors, samples=24, workers=2, batch=8), heard)
    carried_out.measure_all(job, NoRecords())
    longest = len(heard.events) - heard.events[::-1].index("ladders")
    between = heard.events[heard.events.index("ladders") : longest]
    assert between.count("work") > 1
    # Each worker times the model by itself, so that the parts are those of the whole only to the noise of a timing.
    assert abs(heard.told - heard.planned) < 0.3 * heard.done


@pytest.mark.slow(15)
def test_a_model_in_a_process_of_its_own_is_in_the_forecast(model: str, tmp_path: Path) -> None:
    stressors = ("pgd-linf;eps=1/255;steps=3;loss=ce", "fgsm-linf;eps=1/255")
    asked = request(model, "sluggish", stressors=stressors, samples=24, isolate=True)
    (tmp_path / "results").mkdir()
    store = RecordStore(str(tmp_path / "results"))
    for new in (True, False):
        heard = Recorded()
        carried_out.measure_all(PreparedRun(asked, heard), store)
        assert heard.planned == 0  # nothing is timed before its process has begun
        assert (heard.done > 0) == new
        assert heard.told == pytest.approx(0, abs=1e-9)  # all that was added to the forecast is done, or is stored


def as_at_terminal(command: list[str], folder: Path, **environment: str) -> "subprocess.Popen[str]":
    """Start a command in a group of its own, which gets Ctrl-C as from a terminal: a shell in the background may have
    had it ignored."""
    return subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


@pytest.mark.slow(20)
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes where Linux lists them")
@pytest.mark.parametrize("pause", [0.0, 0.3])
def test_workers_that_are_importing_say_nothing_of_ctrl_c(pause: float, model: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "robustbench_wb", "run", "--variant", f"{model}:slow", "--samples", "20"]
    command += ["--stressor", "fgsm-linf;eps=8/255", "--workers", "2", "--device", "cpu", "--progress", "none"]
    process = as_at_terminal(command, tmp_path)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while len(children.read_text().split()) < 3:  # two workers, and the tracker of Python beside them
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    time.sleep(pause)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, errors = process.communicate(timeout=120)
    assert process.returncode == ExitCode.INTERRUPTED, errors
    assert "Traceback" not in errors
    assert errors.splitlines()[-1].startswith("interrupted; ")


@pytest.mark.slow(15)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_does_not_wait_for_a_training(number: signal.Signals, model: str, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    pids.mkdir()
    command = [sys.executable, "-m", "robustbench_wb", "run", "--variant", f"{model}:learning", "--suite", "clean"]
    command += ["--recipe", "standard;epochs=100000", "--executor", "processes", "--workers", "2", "--device", "cpu"]
    process = as_at_terminal([*command, "--progress", "none"], tmp_path, RBWB_TEST_PIDS=str(pids))
    while not list(pids.iterdir()):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    time.sleep(0.5)
    os.killpg(process.pid, number)
    try:
        _, errors = process.communicate(timeout=TERM_SECONDS)  # the training takes a day
    finally:
        process.kill()
    assert process.returncode == (ExitCode.INTERRUPTED if number == signal.SIGINT else ExitCode.TERMINATED), errors
    told = " ".join(errors.split())
    assert re.search("stopping the training of .*:learning; the next run continues it from its last snapshot", told)
    assert "finishing" not in told
    assert told.endswith("what was finished is saved: run the same command to resume")


def alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes where Linux lists them")
@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_their_parent(blow: signal.Signals, model: str, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    pids.mkdir()
    command = [sys.executable, "-m", "robustbench_wb", "run", "--variant", f"{model}:slow", "--samples", "20"]
    command += ["--stressor", "pgd-linf;eps=8/255;steps=2", "--stressor", "fgsm-linf;eps=8/255", "--workers", "2"]
    command += ["--device", "cpu", "--progress", "none"]
    process = as_at_terminal(command, tmp_path, RBWB_TEST_PIDS=str(pids))
    while len(list(pids.iterdir())) < 2:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    workers = [int(file.name) for file in pids.iterdir()]
    assert all(alive(pid) for pid in workers)
    if blow == signal.SIGINT:
        os.killpg(process.pid, blow)
        assert process.stderr is not None
        told = ""
        while "Ctrl-C again stops at once" not in " ".join(told.split()):  # whose lines are as wide as the terminal
            line = process.stderr.readline()
            assert line, told
            told += line
        os.killpg(process.pid, blow)
    else:
        process.kill()
    _, errors = process.communicate(timeout=120)
    assert process.returncode == (ExitCode.INTERRUPTED if blow == signal.SIGINT else -signal.SIGKILL)
    assert "Traceback" not in errors
    for _ in range(600):
        if not any(alive(pid) for pid in workers):
            break
        time.sleep(0.1)
    assert not any(alive(pid) for pid in workers)
    assert not (tmp_path / "results" / "scores").exists()
