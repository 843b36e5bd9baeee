"""A search in less precision: every outcome is decided in float32, and at the headline radius it loses nothing."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robustbench_wb import evaluate
from robustbench_wb.analysis.headline.headline_columns import headline_columns
from robustbench_wb.engine.batch import BatchSize
from robustbench_wb.engine.measure import LadderStep, measure
from robustbench_wb.engine.plan import make_plan
from robustbench_wb.engine.prepared_run import PreparedRun
from robustbench_wb.engine.record_keeper import NoRecords
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.engine.run import measure_all
from robustbench_wb.engine.search_precision import (
    SearchPlan,
    headline_strengths,
    lowered,
    refuse_search_precision,
    search_plan,
    search_twice,
)
from robustbench_wb.engine.task_samples import MeasuredModel, TaskSamples, choose_samples
from robustbench_wb.engine.torch_state import arithmetic
from robustbench_wb.errors import UsageError
from robustbench_wb.float_precision import read_precision
from robustbench_wb.progress import SilentProgress
from robustbench_wb.records.record import Measurement, Record, State
from robustbench_wb.stressors.catalogue import parse_stressor
from robustbench_wb.stressors.model_access import ModelAccess
from robustbench_wb.stressors.sample_batch import PerturbedBatch, SampleBatch
from robustbench_wb.stressors.stressor import Stressor
from robustbench_wb.tasks.task import Dataset
from tests.engine.linear_model import LINEAR
from tests.store.make import identity, record, row

SAMPLES = 40
RADII = ("1/255", "8/255", "32/255", "64/255")


class Mean(nn.Module):
    """Two logits from the mean of an image."""

    def forward(self, images: Tensor) -> Tensor:
        mean = images.flatten(1).mean(1, keepdim=True) - 0.5
        return self.answer(torch.cat([mean, -mean], 1))

    def answer(self, logits: Tensor) -> Tensor:
        return logits


class Blind(Mean):
    """Without gradients where a search is in bfloat16, so that it finds next to nothing."""

    def answer(self, logits: Tensor) -> Tensor:
        return logits.detach() if torch.is_autocast_enabled("cpu") else logits


class Liar(Mean):
    """Wrong wherever a search is in bfloat16, so that it finds far too much."""

    def answer(self, logits: Tensor) -> Tensor:
        return -logits if torch.is_autocast_enabled("cpu") else logits


class Broken(Mean):
    """Not finite where a search is in bfloat16."""

    def answer(self, logits: Tensor) -> Tensor:
        return logits * torch.nan if torch.is_autocast_enabled("cpu") else logits


def _grey() -> TaskSamples:
    levels = np.linspace(40, 215, SAMPLES).astype(np.uint8).repeat(4).reshape(SAMPLES, 1, 2, 2)
    labels = (levels[:, 0, 0, 0] < 128).astype(np.int64)
    return TaskSamples(ids=np.arange(SAMPLES, dtype=np.int32), inputs=levels, labels=labels)


def _records(
    model: nn.Module,
    search: SearchPlan,
    *,
    samples: TaskSamples | None = None,
    rungs: tuple[Stressor, ...] = (),
) -> list[Record]:
    samples, rungs = samples or _grey(), rungs or _ladder()
    step = LadderStep(
        rungs=rungs, identities=tuple(identity(signature=rung.signature) for rung in rungs), search=search
    )
    measured = MeasuredModel(model=model, batch=BatchSize(16), device=torch.device("cpu"))
    before = np.full(len(samples), State.ROBUST, np.int8)
    return measure(step, measured, samples, before=before, advance=lambda count: None)


def _ladder() -> tuple[Stressor, ...]:
    return tuple(parse_stressor(f"pgd-linf;eps={radius};steps=4;loss=ce") for radius in RADII)


@pytest.mark.parametrize("model", [Mean(), Blind(), Liar(), Broken()], ids=lambda model: type(model).__name__)
def test_at_the_headline_radius_no_sample_holds_that_float32_breaks(model: nn.Module) -> None:
    exact = _records(model, SearchPlan())
    found = _records(model, SearchPlan(precision="bfloat16", headline="32/255"))
    for level, (ours, theirs) in enumerate(zip(found, exact, strict=True)):
        if RADII[level] == "32/255":
            np.testing.assert_array_equal(ours.states, theirs.states)
        assert not (ours.states == State.ERRORED).any()
        assert ours.wobble == 0
    evidence = found[0].evidence
    quick, whole = (sum(int(one.forwards.sum()) for one in records) for records in (found, exact))
    assert (evidence["searched_again"] < SAMPLES) == (type(model) is Mean)
    if isinstance(model, Liar | Broken):
        assert evidence["unconfirmed"] > SAMPLES // 2
    else:
        assert evidence["unconfirmed"] == 0
    assert quick > whole  # both searches are counted


def test_a_trained_model_is_no_more_robust_by_a_search_in_bfloat16(
    trained: Callable[[str], nn.Module], digits: Dataset
) -> None:
    samples, rungs = (
        choose_samples(digits, 50),
        tuple(parse_stressor(f"pgd-linf;eps={radius};steps=3;loss=ce") for radius in RADII),
    )
    exact = _records(trained("vit"), SearchPlan(), samples=samples, rungs=rungs)
    found = _records(trained("vit"), SearchPlan(precision="bfloat16", headline=RADII[1]), samples=samples, rungs=rungs)
    assert 0 < found[1].count(State.ROBUST) < len(samples)
    assert not ((found[1].states == State.ROBUST) & (exact[1].states != State.ROBUST)).any()
    assert sum(record.forwards.sum() for record in found) > sum(record.forwards.sum() for record in exact)


def test_away_from_the_headline_radius_survivors_are_not_searched_again() -> None:
    blind = _records(Blind(), SearchPlan(precision="bfloat16"))
    exact = _records(Blind(), SearchPlan())
    assert blind[3].count(State.ROBUST) > exact[3].count(State.ROBUST)
    assert blind[3].evidence["searched_again"] == 0


def test_what_either_search_found_is_kept() -> None:
    """Samples: 0 broken and confirmed, 1 unconfirmed, 2 broken again only, 3 broken high only, 4 held."""
    rungs = _ladder()[:2]
    images = torch.zeros(5, 1, 1, 1)
    batch = SampleBatch(inputs=images, labels=torch.zeros(5, dtype=torch.int64), ids=torch.arange(5), seed=0)
    quick = ([1, 1, 0, 0, 0], [1, 1, 0, 0, 0])
    wrong = ([0], [0, 3])  # in float32
    again = ([0, 1, 0, 0], [0, 1, 0, 0])  # of samples 1 to 4
    asked: list[list[int]] = []
    advanced: list[int] = []

    def made(some: SampleBatch, broken: Sequence[int], level: int, passes: int) -> PerturbedBatch:
        count = len(some.ids)
        return PerturbedBatch(
            inputs=some.inputs + level + passes / 10,
            forwards=np.full(count, passes, np.int32),
            backwards=np.full(count, passes - 1, np.int32),
            broken=np.array(broken, np.bool_),
            failed=np.zeros(count, np.bool_),
            texts=[f"{level}/{passes}"] * count,
            evidence={"held": count},
        )

    def search(some: SampleBatch, own: ModelAccess) -> list[PerturbedBatch]:
        if len(some.ids) == 5:
            return [made(some, broken, level, 3) for level, broken in enumerate(quick)]
        assert some.ids.tolist() == [1, 2, 3, 4]
        return [made(some, broken, level, 7) for level, broken in enumerate(again)]

    def ask(some: SampleBatch, tried: PerturbedBatch) -> NDArray[np.bool_]:
        asked.append(some.ids.tolist())
        return np.isin(some.ids.numpy(), wrong[len(asked) - 1])

    access = ModelAccess(model=Mean(), batch_size=8, advance=advanced.append)
    plan = SearchPlan(precision="bfloat16", headline=rungs[0].strength)
    low, high = search_twice(plan, rungs, batch, access=access, search=search, ask=ask)
    assert asked == [[0, 1, 2, 3, 4], [1, 2, 3, 4]]  # each sample up to its first error
    assert advanced == [1]
    assert low.broken is not None
    assert high.broken is not None
    assert low.broken.tolist() == [True, False, True, False, False]
    assert high.broken.tolist() == [True, False, True, True, False]
    assert low.inputs.flatten().tolist() == pytest.approx([0.3, 0.7, 0.7, 0.7, 0.7])
    assert high.inputs.flatten().tolist() == pytest.approx([1.3, 1.7, 1.7, 1.3, 1.7])
    assert high.texts == ["1/3", "1/7", "1/7", "1/3", "1/7"]
    assert low.forwards.tolist() == [3 + 1, *[3 + 1 + 7] * 4]
    assert high.forwards.tolist() == [3, *[3 + 1 + 7] * 4]
    assert high.backwards.tolist() == [2, 8, 8, 8, 8]
    assert low.evidence == {"held": 9, "searched_again": 4, "unconfirmed": 1}


def test_only_the_model_computes_in_less_precision() -> None:
    seen: list[bool] = []

    class Watching(nn.Linear):
        def forward(self, given: Tensor) -> Tensor:
            seen.append(torch.is_autocast_enabled("cpu"))
            return super().forward(given)

    model, images = Watching(300, 4).requires_grad_(False), torch.rand(5, 300).requires_grad_(True)
    exact = model(images)
    with lowered("bfloat16", model, None):
        assert isinstance(model, Watching)
        coarse = model(images)
        (gradient,) = torch.autograd.grad(coarse.sum(), images)
        assert not torch.is_autocast_enabled("cpu")
    assert type(model) is Watching
    assert seen == [False, True]
    assert (coarse.dtype, gradient.dtype) == (torch.float32, torch.float32)
    assert 0 < float((exact - coarse).detach().abs().max()) < 0.05
    with arithmetic(torch.device("cpu")):
        exactly = read_precision(torch)
        with lowered("tf32", model):
            assert torch.backends.cuda.matmul.allow_tf32
            assert torch.backends.cudnn.allow_tf32
        assert read_precision(torch) == exactly


def test_precisions_that_a_device_lacks_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    for precision, device in (("tf32", "cpu"), ("tf32", "cuda"), ("bfloat16", "mps")):
        with pytest.raises(UsageError, match=f"search_precision {precision} needs"):
            refuse_search_precision(precision, torch.device(device))  # type: ignore[arg-type]
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    refuse_search_precision("tf32", torch.device("cuda"))
    refuse_search_precision("bfloat16", torch.device("cpu"))
    with pytest.raises(UsageError, match="one of float32, bfloat16, tf32"):
        evaluate(Mean(), torch.rand(2, 1, 2, 2), torch.tensor([0, 1]), search_precision="half")  # type: ignore[arg-type]


def test_the_headline_strength_is_the_one_that_ranks() -> None:
    request = RunRequest(suite="adversarial", tasks=("digits",), variants=("vit",))
    (task,) = make_plan(request).tasks
    rungs = [rung for ladder in task.ladders for rung in ladder.rungs]
    assert headline_strengths(rungs) == {"linf": "16/255", "l2": "1"}
    rows = [row(record(signature=rung.signature), stressor=rung.label, strength=rung.strength) for rung in rungs]
    columns, main = headline_columns(rows)
    assert columns[main].column.name == "Linf 16/255"


@pytest.mark.parametrize(
    ("signature", "numerics"),
    [
        ("pgd-linf;eps=8/255", ";bfloat16-search"),
        ("pgd-linf;eps=16/255", ";bfloat16-search;confirmed-at=16/255"),
        ("torchattacks:PGD;eps=16/255", ""),  # its samples share draws
        ("clean", ""),
        ("gaussian-noise;severity=3", ""),
    ],
)
def test_the_search_is_part_of_the_numerics_where_it_can_change_them(signature: str, numerics: str) -> None:
    rungs, headline = (parse_stressor(signature),), {"linf": "16/255"}
    assert search_plan("bfloat16", rungs, headline, causal=False).numerics == numerics
    assert search_plan("float32", rungs, headline, causal=False).numerics == ""
    assert search_plan("bfloat16", rungs, headline, causal=True).numerics == ""
    assert SearchPlan(precision="tf32", headline="").numerics == ";tf32-search;confirmed"


def _measured(tmp_path: Path, **changes: object) -> dict[str, Measurement]:
    model = tmp_path / "model.py"
    model.write_text(LINEAR)
    request = RunRequest.model_validate(
        {
            "variants": (f"{model}:make",),
            "stressors": ("pgd-linf;steps=5", "fgsm-linf", f"transfer-linf;source={model}:make;steps=2"),
            "epsilons": ("4/255", "16/255"),
            "recipe": "none",
            "samples": 100,
            "device": "cpu",
            **changes,
        }
    )
    return {cell.cell.label: cell for cell in measure_all(PreparedRun(request, SilentProgress()), NoRecords())}


def test_a_run_says_how_it_searched(tmp_path: Path) -> None:
    exact, found = _measured(tmp_path), _measured(tmp_path, search_precision="bfloat16")
    for label, cell in found.items():
        own, other = cell.identity, exact[label].identity
        assert own is not None and other is not None  # noqa: PT018
        searched = cell.cell.stressor != "clean"
        assert own.numerics.startswith(other.numerics)
        assert own.numerics.removeprefix(other.numerics).startswith(";bfloat16-search") == searched
        assert (own.key == other.key) == (not searched)
        assert cell.record is not None
        theirs = exact[label].record
        assert theirs is not None
        if cell.cell.strength == "16/255":
            assert not ((cell.record.states == State.ROBUST) & (theirs.states != State.ROBUST)).any()
            assert cell.record.forwards.sum() > theirs.forwards.sum()
