"""Shards of samples: cut so that each is about as long, measured apart, and joined to the cell of one process."""

import os
import re
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustbench_wb.api import run as harness
from robustbench_wb.engine import opening
from robustbench_wb.engine.credibility import probe_choice
from robustbench_wb.engine.credibility.image_probe import ImageProbe
from robustbench_wb.engine.division import disjoint, divide, missing_spans, shard_seconds
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.errors import ExitCode, UsageError
from robustbench_wb.records.record import Record, State
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.stressors.attacks.pixel_attack import PixelAttack
from robustbench_wb.stressors.catalogue import STRESSORS
from robustbench_wb.stressors.model_free import ModelFreeStressor
from robustbench_wb.stressors.training_contamination import TrainingContamination
from tests.engine.linear_model import LINEAR

SLOW = f"""{LINEAR}
import time

class Slow(Linear):
    def forward(self, images):
        time.sleep(0.002)
        return super().forward(images)

def slow(shape):
    return Slow(shape)
"""
Spans = list[tuple[int, int]]
SAMPLES = 40
RANGES = st.lists(st.tuples(st.integers(0, SAMPLES), st.integers(0, SAMPLES)).map(lambda ends: (min(ends), max(ends))))


@given(tried=st.sets(st.integers(0, SAMPLES - 1)), seconds=st.floats(0, 1e6), ends=RANGES.filter(bool))
def test_a_range_is_cut_into_ranges_with_equal_work(tried: set[int], seconds: float, ends: Spans) -> None:
    first, stop = ends[0]
    found = divide((first, stop), np.array(sorted(tried), np.int64), seconds)
    cuts = [first, *(span[1] for span, _ in found)]
    assert [span for span, _ in found] == list(pairwise(cuts))
    assert cuts[-1] == stop
    counts = [sum(span[0] <= row < span[1] for row in tried) for span, _ in found]
    assert max(counts) - min(counts) <= 1
    assert [forecast for _, forecast in found] == [seconds * count for count in counts]
    assert all(forecast <= max(30.0, seconds) for _, forecast in found)


@given(RANGES)
def test_what_parts_do_not_cover_is_missing(ends: Spans) -> None:
    chosen = disjoint([(first, stop) for first, stop in ends if first < stop])
    missing = missing_spans(chosen, SAMPLES)
    every = sorted([*chosen, *missing])
    assert all(first < stop for first, stop in every)
    assert [0, *(stop for _, stop in every)] == [*(first for first, _ in every), SAMPLES]


@pytest.mark.parametrize("text", ["0", "-1", "30s", "inf", "nan"])
def test_a_wrong_length_of_shards_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RBWB_SHARD_SECONDS", text)
    with pytest.raises(UsageError, match="RBWB_SHARD_SECONDS is a number of seconds above 0, not"):
        shard_seconds()


IN_PIXELS = ("sparse-rs-l0", "patch")
"""Attacks whose strength is a number of pixels."""


def attacks(*modalities: str, pixels: bool) -> tuple[str, ...]:
    """Signatures of all attacks on some kinds of inputs, with small numbers of steps where they have any.

    SPSA is not divided; its 16 directions are enough for other losses if it were.
    ``pixels`` takes those on labels of pixels alone, or all others.

    AutoAttack and the strong ensemble are left out: they take many steps, their members are in the list, and so are
    other ensembles.
    """
    found = []
    for name in STRESSORS.names():
        kind = STRESSORS.get(name)
        if issubclass(kind, ModelFreeStressor | TrainingContamination) or issubclass(kind, PixelAttack) != pixels:
            continue
        if kind.modality in modalities and kind.axis is not None and not name.startswith(("autoattack", "strong")):
            small = {"steps": 5, "queries": 40, "restarts": 1, "samples": 16}
            numbers = [f"{key}={value}" for key, value in small.items() if key in kind.model_fields]
            shares = {"eps": "1/16", "rate": "1/4"} if name not in IN_PIXELS else {}
            strength = shares.get(kind.axis, "2")
            source = ["source=vit"] if name.startswith("transfer") else []
            source += ["module=head.norm"] if name.startswith("bpda") else []
            found.append(";".join([name, *source, f"{kind.axis}={strength}", *numbers]))
    return tuple(found)


@pytest.mark.slow(40)
@pytest.mark.parametrize(
    ("task", "variant", "modalities"),
    [
        ("digits", "vit", ("image",)),
        ("scattered-digits", "vit", ("image",)),
        ("sentences", "bert", ("labelled", "text", "tokens")),
    ],
)
def test_every_attack_on_thirds_of_the_samples_joins_to_the_same_record(
    task: str, variant: str, modalities: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pixels = task == "scattered-digits"
    request = RunRequest(
        tasks=(task,),
        variants=(variant,),
        recipe="standard;epochs=6" if pixels else "standard",
        stressors=attacks(*modalities, pixels=pixels),
        samples=18,
        device="cpu",
    )
    whole = harness.run(request, "whole")
    found: Spans = []

    def in_thirds(span: tuple[int, int], tried: object, seconds: float) -> list[tuple[tuple[int, int], float]]:
        cuts = [span[0] + (span[1] - span[0]) * third // 3 for third in range(4)]
        found.extend(pairwise(cuts))
        return [(part, seconds) for part in pairwise(cuts)]

    monkeypatch.setattr(opening, "divide", in_thirds)
    parts = harness.run(request, "parts")
    assert {*found} == {(0, 6), (6, 12), (12, 18)}
    keys = [row.key for row in whole.rows]
    assert [row.key for row in parts.rows] == keys
    assert not [(row.stressor, row.error) for row in whole.rows if row.status != "ok"]
    ours, theirs = (RecordStore(place).find(keys) for place in ("whole", "parts"))
    # A model that no attack breaks, or each at once, would show less.
    assert {State.ROBUST, State.BROKEN} <= {state for one in ours.values() for state in one.states.tolist()}
    for row in whole.rows:
        one, other = ours[row.key], theirs[row.key]
        for name in ("ids", "states", "forwards", "backwards"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=f"{row.stressor} {name}")
        # A batch is as long as its longest text: that moves the last bits of a loss, and steps of an attack add to it.
        rtol, atol = (1e-4, 1e-5) if task == "sentences" else (0, 0)
        np.testing.assert_allclose(one.losses, other.losses, rtol=rtol, atol=atol, err_msg=row.stressor)
        np.testing.assert_array_equal(one.pixels, other.pixels, err_msg=row.stressor)
        assert dict(one.evidence) == dict(other.evidence), row.stressor
    assert not (tmp_path / "parts" / "parts").exists()


def records_of(folder: Path, place: str) -> dict[str, Record]:
    """All stored records, by key."""
    store = RecordStore(str(folder / place))
    return store.find(store.keys())


def parts_of(folder: Path, place: str) -> dict[str, int]:
    """Stored parts, and when they were written, in nanoseconds."""
    return {path.name: path.stat().st_mtime_ns for path in (folder / place / "parts").glob("*.parquet")}


TWO = ("--executor", "processes", "--workers", "2")
ATTACK = "pgd-linf;eps=1/16;steps=200"


def started(folder: Path, place: str, *more: str) -> "subprocess.Popen[str]":
    """A run of a slow model, in about twenty shards, which begins in the background."""
    (folder / "model.py").write_text(SLOW)
    options = ["--variant", "model.py:slow", "--samples", "60", "--device", "cpu", "--progress", "none"]
    options += ["--stressor", ATTACK, "--results", place]
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "RBWB_SHARD_SECONDS": "0.5",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "robustbench_wb", "run", *options, *more],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def wait_for_parts(folder: Path, process: "subprocess.Popen[str]", count: int) -> dict[str, int]:
    """Wait until a run has kept so many parts; return them."""
    end = time.monotonic() + 240
    while len(found := parts_of(folder, "shared")) < count:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.005)
    return found


@pytest.mark.slow(40)
def test_kills_lose_the_shards_in_flight_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = started(tmp_path, "shared", *TWO)
    wait_for_parts(tmp_path, process, 2)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[-1]), signal.SIGKILL)
    before = wait_for_parts(tmp_path, process, 4)
    process.kill()
    process.communicate()
    again = started(tmp_path, "shared", *TWO)
    now = wait_for_parts(tmp_path, again, len(parts_of(tmp_path, "shared")) + 1)
    assert all(now[name] == written for name, written in before.items())  # measured once
    _, errors = again.communicate(timeout=300)
    assert again.returncode == 0, errors
    assert not (tmp_path / "shared" / "parts").exists()
    monkeypatch.setattr(probe_choice, "ImageProbe", ImageProbe)  # as in the other processes
    alone = RunRequest(
        variants=(f"{tmp_path / 'model.py'}:slow",), stressors=(ATTACK,), samples=60, device="cpu", executor="inline"
    )
    assert harness.run(alone, str(tmp_path / "alone")).exit_code == ExitCode.OK  # in one shard
    ours, theirs = records_of(tmp_path, "shared"), records_of(tmp_path, "alone")
    assert ours.keys() == theirs.keys()
    for key, record in ours.items():
        np.testing.assert_array_equal(record.states, theirs[key].states)
        # Which samples are in a batch moves the last bits of a loss.
        np.testing.assert_allclose(record.losses, theirs[key].losses, rtol=1e-5, atol=1e-7)


@pytest.mark.slow(60)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_finishes_the_shards_in_flight(number: signal.Signals, tmp_path: Path) -> None:
    process = started(tmp_path, "shared", *TWO)
    wait_for_parts(tmp_path, process, 2)
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    code, words = (
        (ExitCode.INTERRUPTED, "interrupted; ")
        if number == signal.SIGINT
        else (ExitCode.TERMINATED, "ended by SIGTERM; ")
    )
    assert process.returncode == code, errors
    told = " ".join(errors.split())
    assert re.search(r"finishing and storing .*slow pgd-linf.*, (which takes|for at most) .*; Ctrl-C again", told)
    assert errors.splitlines()[-1] == f"{words}what was finished is saved: run the same command to resume"
    left = parts_of(tmp_path, "shared")
    assert len(left) >= 3  # one was in flight at least
    again = started(tmp_path, "shared", *TWO)
    wait_for_parts(tmp_path, again, len(left) + 1)
    assert left.items() <= parts_of(tmp_path, "shared").items()
    again.kill()
    again.communicate()
