"""Numbers behind ``test.``: a model is trained with its own numbers, and evaluated with others."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from robustbench_wb import forecast, train
from robustbench_wb.api import run as harness
from robustbench_wb.api.request import RequestFields
from robustbench_wb.engine.changed_numbers import find_variant
from robustbench_wb.engine.prepared_run import PreparedRun
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.engine.subject import Subject
from robustbench_wb.errors import UsageError
from robustbench_wb.models.backbone import Transformer, TransformerBlock
from robustbench_wb.models.sparse import SparseStep
from robustbench_wb.models.weights import weights_of
from robustbench_wb.progress import SilentProgress
from robustbench_wb.records.score_row import ScoreRow
from tests.known import known

SMALL = "crate;depth=2;width=16"


def request(variant: str, **more: object) -> RunRequest:
    given: dict[str, object] = {
        "suite": "clean", "tasks": ("digits",), "variants": (variant,), "recipe": "standard;epochs=4", "device": "cpu",
        "samples": 200,
    }  # fmt: skip
    return RunRequest(**{**given, **more})


def subject(variant: str, **more: object) -> Subject:
    prepared = PreparedRun(request(variant, **more), SilentProgress())
    ((plan,),) = (task.subjects for task in prepared.plan.tasks)
    return prepared.obtain(plan, prepared.datasets[0])


def edited(model: nn.Module, lam: float) -> nn.Module:
    """The model with another lambda in each of its ISTA steps, assigned in memory."""
    assert isinstance(model, Transformer)
    for block in model.backbone.blocks:
        assert isinstance(block, TransformerBlock)
        assert isinstance(block.feedforward, SparseStep)
        block.feedforward.lam = lam
    return model


def images() -> Tensor:
    return torch.linspace(0, 1, 3 * 64).view(3, 1, 8, 8)


def checkpoints(cache: Path) -> int:
    return len(list((cache / "checkpoints").glob("*.safetensors")))


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("RBWB_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_evaluated_model_is_the_trained_one_with_its_lambda_assigned_in_memory(fresh: Path) -> None:
    trained, tested = subject(SMALL), subject(f"{SMALL};test.lam=3")
    assert checkpoints(fresh) == 1
    assert not tested.card.trained
    assert not torch.equal(tested.model(images()), trained.model(images()))
    assert torch.equal(tested.model(images()), edited(trained.model, 3.0)(images()))
    own = {name: tensor for name, tensor in weights_of(tested.model).items() if "_extra_state" not in name}
    assert all(torch.equal(tensor, weights_of(trained.model)[name]) for name, tensor in own.items())


def test_a_row_says_which_model_was_evaluated(fresh: Path, tmp_path: Path) -> None:
    def row(variant: str) -> ScoreRow:
        (found,) = harness.run(request(variant), results=str(tmp_path / "results")).rows
        return found

    plain, tested, same = row(SMALL), row(f"{SMALL};test.lambda=30"), row(f"{SMALL};test.lam=0.1")
    assert tested.variant == f"{SMALL};test.lam=30.0"
    assert len({plain.key, tested.key}) == len({plain.weights, tested.weights}) == 2
    assert same.key == plain.key  # the number that it was trained with
    assert known(tested.accuracy) < known(plain.accuracy) - 0.2  # a threshold of 3 leaves few entries
    assert checkpoints(fresh) == 1
    retrained = row(f"{SMALL};lam=30")
    assert retrained.key not in (plain.key, tested.key)
    assert checkpoints(fresh) == 2


def test_a_model_that_is_trained_on_contaminated_data_is_evaluated_with_the_changed_number(
    fresh: Path, tmp_path: Path
) -> None:
    def rows(variant: str) -> list[ScoreRow]:
        asked = request(variant, stressors=("label-noise;rate=1/5",))
        return list(harness.run(asked, results=str(tmp_path / "results")).rows)

    plain, tested = rows(SMALL), rows(f"{SMALL};test.lam=3")
    assert checkpoints(fresh) == 2  # clean and contaminated
    assert len({row.weights for row in (*plain, *tested)}) == 4
    assert len({row.model_code for row in (*plain, *tested)}) == 2


def test_a_number_that_is_no_part_of_the_state_is_changed_as_well(fresh: Path) -> None:
    small = "neutreno;depth=2;width=16"
    trained, tested = subject(small), subject(f"{small};test.lam=0")
    assert trained.card.weights == tested.card.weights
    assert trained.model_code != tested.model_code
    assert not torch.allclose(tested.model(images()), trained.model(images()))
    assert checkpoints(fresh) == 1


def test_a_plan_counts_the_training_that_models_share_once(fresh: Path) -> None:
    plain: RequestFields = {"suite": "clean", "variants": SMALL, "recipe": "standard;epochs=1", "samples": 8}
    both: RequestFields = {**plain, "variants": (f"{SMALL};test.lam=3", SMALL)}
    assert forecast(**both).trainings == 1
    train(**plain)
    assert checkpoints(fresh) == 1
    assert forecast(**both).trainings == 0


def test_weights_of_a_file_are_evaluated_with_the_changed_number(fresh: Path, tmp_path: Path) -> None:
    trained = subject(SMALL)
    save_file(weights_of(trained.model), tmp_path / "crate.safetensors")
    given = subject(f"{SMALL};test.lam=3", checkpoint=str(tmp_path / "crate.safetensors"))
    assert torch.equal(given.model(images()), edited(trained.model, 3.0)(images()))


def test_training_and_evaluation_can_both_have_changed_numbers() -> None:
    found = find_variant("crate;test.feedforward.lambda=2;lam=0.5", "nano")
    assert found.name == "crate;lam=0.5;test.feedforward.lam=2.0"
    assert (found.trained.feedforward_options["lam"], found.tested.feedforward_options["lam"]) == (0.5, 2.0)
    assert find_variant("crate;test.lam=0.1", "nano").tested == find_variant("crate", "nano").trained


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("crate;test.lamda=1", "has no number 'lamda'; did you mean lam?"),
        ("crate;test.width=32", "has no number 'width'"),
        ("crate;test.lam=1;test.lambda=2", "gives 'test.lam' twice"),
        ("vit;test.ratio=2", "changes the weights (backbone.blocks.0.feedforward.hidden.weight)"),
        ("rpc;test.iterations=0", "needs iterations >= 1"),
    ],
)
def test_what_cannot_be_changed_after_training_is_refused(reference: str, reason: str) -> None:
    with pytest.raises(UsageError) as refused:
        find_variant(reference, "nano")
    assert reason in str(refused.value)
