"""How much work a plan is: counted by hand, and weighed by what a pass of each subject takes in a trial."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from robustbench_wb.cpu_threads import cpu_threads
from robustbench_wb.engine import cost_forecast as work
from robustbench_wb.engine.batch import FEW
from robustbench_wb.engine.cost_forecast import SampleCost, costs, plan_seconds
from robustbench_wb.engine.plan import Plan, SubjectPlan, make_plan
from robustbench_wb.engine.prepared_run import PreparedRun
from robustbench_wb.engine.record_keeper import NoRecords
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.engine.run import measure_all
from robustbench_wb.errors import SubjectError
from robustbench_wb.progress import JobProgress, SilentProgress
from robustbench_wb.tasks.task import Dataset

CPU = torch.device("cpu")


def planned(**fields: object) -> Plan:
    return make_plan(RunRequest.model_validate({"suite": "clean", "tasks": ("digits",), "samples": 100, **fields}))


class Slow(nn.Module):
    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def forward(self, images: Tensor) -> Tensor:
        time.sleep(self.seconds)
        return images.flatten(1)


def test_a_plan_is_the_sum_of_its_passes(digits: Dataset) -> None:
    signatures = ("gaussian-noise;severity=3", "pgd-linf;eps=8/255;steps=7;loss=ce", "label-noise;rate=1/5")
    plan = planned(variants=("vit", "crate"), stressors=signatures)
    training = 30 * 1437 * 5  # epochs, samples, seconds of a training pass
    clean, noise, labels = 100, 100, 100  # one pass for the verdict
    attack = (8 + 1 + 2 * 7) * 100  # seven steps and a last look, a verdict, seven gradients
    measured = clean + noise + labels + attack
    trial = {"vit": SampleCost(1.0, 5.0), "crate": SampleCost(0.5, 2.5)}
    assert plan_seconds(plan, [digits], [trial]) == 1.5 * (2 * training + measured)


def test_a_subject_that_takes_longer_weighs_more(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {"vit": 0.02, "crate": 0.08}
    monkeypatch.setattr(work, "untrained", lambda subject, dataset, seed: Slow(seconds[subject.name]))
    (found,) = costs(planned(variants=("vit", "crate")), [digits], CPU)
    assert 2 < found["crate"].forward / found["vit"].forward < 6
    assert 2 < found["crate"].training / found["vit"].training < 6


def test_threads_that_wait_for_each_other_do_not_lengthen_the_forecast(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two threads beside a busy program take hundreds of times as long as one."""

    class Waiting(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            time.sleep(0.2 if torch.get_num_threads() > 1 else 0.002)
            return images.flatten(1)

    monkeypatch.setattr(work, "untrained", lambda *_: Waiting())
    with cpu_threads(2):
        (found,) = costs(planned(variants=("vit",)), [digits], CPU)
        assert torch.get_num_threads() == 2
    assert max(found["vit"].forward, found["vit"].training) * FEW < 0.1


def test_a_model_that_fails_in_the_trial_does_not_stop_the_run(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Greedy(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            raise RuntimeError("can't allocate memory")

    monkeypatch.setattr(work, "untrained", lambda subject, dataset, seed: Greedy())
    (found,) = costs(planned(variants=("vit", "crate")), [digits], CPU)
    assert all(cost.untimed for cost in found.values())


def test_what_cannot_be_timed_is_left_out_and_marked(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(subject: SubjectPlan, dataset: Dataset, seed: int) -> nn.Module:
        if subject.name == "crate":
            raise SubjectError("not today")
        return Slow(0.01)

    monkeypatch.setattr(work, "untrained", build)
    (found,) = costs(planned(variants=("vit", "crate")), [digits], CPU)
    assert found["crate"] == SampleCost(0.0, 0.0, untimed=True)
    assert found["vit"].forward > 0
    assert not found["vit"].untimed


class Heard(SilentProgress):
    """Progress that adds up what it is told of the whole job."""

    planned = done = seconds = skipped = 0.0
    partial = False

    @contextmanager
    def overall(self, label: str, work: float, *, partial: bool) -> Iterator[JobProgress]:
        self.planned, self.partial = work, partial
        yield self

    def add_done(self, work: float, seconds: float) -> None:
        self.done += work
        self.seconds += seconds

    def add_skipped(self, work: float) -> None:
        self.skipped += work


def test_a_model_from_outside_is_timed_once_it_is_built(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("""
from torch import nn

def small(shape):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

class Broken(nn.Module):
    def forward(self, images):
        if images.requires_grad or len(images) == 8:
            raise RuntimeError("not today")
        return images.flatten(1)[:, :10]
""")
    models = tuple(f"{tmp_path}/own.py:{name}" for name in ("small", "Broken"))
    stressors = ("gaussian-noise;severity=3",)
    own: dict[str, object] = {"suite": "clean", "tasks": ("digits",), "samples": 20, "variants": models}
    request = RunRequest.model_validate({**own, "recipe": "none", "stressors": stressors, "batch": 16})
    heard = Heard()
    cells = measure_all(PreparedRun(request, heard), NoRecords())
    assert [cell.error for cell in cells if cell.cell.variant == models[0]] == ["", ""]
    assert (heard.planned, heard.partial) == (0.0, True)
    assert 0 < heard.done < 1  # two cells of 20 samples: nobody takes a second for each pass
    assert heard.seconds > 0
    assert heard.done + heard.skipped == pytest.approx(heard.planned)
