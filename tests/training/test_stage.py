"""Training as a cached stage: what trains again, what does not, and what is left behind."""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from robustbench_wb.errors import CheckpointError, DivergedError
from robustbench_wb.models.weights import weights_digest
from robustbench_wb.tasks.task import Split
from robustbench_wb.training import checkpoint, snapshot, train_or_load
from robustbench_wb.training.loop import TrainingData, TrainingState, make_optimizer, train
from robustbench_wb.training.recipe import AS_BUILT, Adversary, Recipe
from tests.training.small_runs import CPU, RECIPE, STEPS, build, checkpoints, digits, run


def test_training_learns_digits() -> None:
    split, recipe = digits(600), Recipe(epochs=6, batch=32, learning_rate=0.02)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    data = TrainingData(torch.tensor(split.inputs), torch.tensor(split.labels))
    position = TrainingState(0, 0.0)
    with torch.no_grad():
        before = float(nn.functional.cross_entropy(model(data.inputs.float() / 255), data.labels))
    final = train(
        model,
        make_optimizer(model, recipe),
        data,
        recipe=recipe,
        seed=0,
        position=position,
        advance=lambda n: None,
        snapshot=lambda p: None,
    )
    with torch.no_grad():
        logits = model(data.inputs.float() / 255)
    assert final < 0.2 * before
    assert float((logits.argmax(1) == data.labels).float().mean()) > 0.9
    assert position.step == 6 * 19
    assert 0 < position.seconds < 60
    assert not model.training


def test_the_same_request_gives_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever state the global generators are in: dropout is counted too."""
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = run()
    assert torch.equal(torch.get_rng_state(), state)  # nobody else's numbers move
    monkeypatch.setenv("RBWB_CACHE_DIR", str(tmp_path / "other"))
    torch.manual_seed(2)
    second = run()
    assert first.fresh
    assert second.fresh
    assert first.weights == second.weights
    assert all(torch.equal(first.tensors[name], second.tensors[name]) for name in first.tensors)
    assert run(seed=1).weights != first.weights


def test_dropout_differs_from_step_to_step() -> None:
    class Watch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(64, 10)
            self.seen: list[float] = []

        def forward(self, images: Tensor) -> Tensor:
            self.seen.append(float(torch.rand(())))
            return self.linear(images.flatten(1))

    model = Watch()
    run(lambda: model)
    assert len(set(model.seen)) == STEPS


def test_the_second_call_does_not_train(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    first = run()
    monkeypatch.setattr(train_or_load, "train", lambda *arguments: pytest.fail("trained again"))
    second = run(lambda: pytest.fail("built again"))
    assert (first.fresh, second.fresh) == (True, False)
    assert (second.weights, second.seconds) == (first.weights, first.seconds)
    assert weights_digest(second.tensors) == first.weights
    assert [len(checkpoints(cache, ending)) for ending in (".safetensors", ".json", "")] == [1, 1, 2]


def one_pixel() -> Split:
    split = digits()
    images = split.inputs.copy()
    images[50, 0, 4, 4] ^= 1
    return Split(inputs=images, labels=split.labels)


def one_label() -> Split:
    split = digits()
    labels = split.labels.copy()
    labels[50] = (labels[50] + 1) % 10
    return Split(inputs=split.inputs, labels=labels)


@pytest.mark.parametrize(
    "change",
    [
        {"recipe": RECIPE.model_copy(update={"learning_rate": 1e-3})},
        {"recipe": RECIPE.model_copy(update={"train_samples": 99})},
        {"seed": 1},
        {"model_code": "net, edited"},
        {"numerics": "cpu of another kind"},
        {"split": one_pixel()},
        {"split": one_label()},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_matters_trains_again(change: dict[str, Any], cache: Path) -> None:
    run()
    assert run(**change).fresh
    assert len(checkpoints(cache, ".safetensors")) == 2
    assert not run().fresh


def test_the_recipe_sets_the_threads_and_not_the_machine() -> None:
    class Watch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(64, 10)
            self.threads: set[int] = set()

        def forward(self, images: Tensor) -> Tensor:
            self.threads.add(torch.get_num_threads())
            return self.linear(images.flatten(1))

    torch.set_num_threads(3)
    models = [Watch(), Watch()]
    for model, threads in zip(models, (1, 2), strict=True):
        assert run(lambda model=model: model, recipe=RECIPE.model_copy(update={"threads": threads})).fresh  # type: ignore[misc]
    assert [model.threads for model in models] == [{1}, {2}]
    assert torch.get_num_threads() == 3


def test_the_loop_s_code_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    run()
    monkeypatch.setattr(train_or_load, "code_digest", lambda module: f"another {module}")
    assert run().fresh


def test_what_does_not_matter_does_not() -> None:
    run()
    assert not run(label="another").fresh


def test_card_of_a_run(cache: Path) -> None:
    trained = run()
    (path,) = checkpoints(cache, ".json")
    card = json.loads(path.read_text())
    assert card["steps"] == STEPS
    assert 0 < card["seconds"] == trained.seconds < 60
    assert 0 < card["final_loss"] < 10
    assert card["weights"] == trained.weights
    assert card["identity"]["recipe"] == RECIPE.model_dump()
    assert card["identity"]["data"] == digits().digest()


def damage_card(path: Path) -> None:
    path.with_suffix(".json").write_text("{")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-7] ^= 1
    path.write_bytes(bytes(content))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def pickled(path: Path) -> None:
    torch.save({}, path)


@pytest.mark.parametrize("damage", [damage_card, flip, cut, pickled])
def test_a_damaged_checkpoint_is_trained_again(
    damage: Callable[[Path], None], cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = run()
    damage(checkpoints(cache, ".safetensors")[0])
    with caplog.at_level(logging.WARNING):
        second = run()
    assert "training again" in caplog.text
    assert second.fresh
    assert second.weights == first.weights
    assert not run().fresh


def test_a_missing_card_is_trained_again(cache: Path) -> None:
    first = run()
    checkpoints(cache, ".json")[0].unlink()
    second = run()
    assert second.fresh
    assert second.weights == first.weights


def test_no_epochs_leave_the_model_as_built(cache: Path) -> None:
    trained = run(recipe=AS_BUILT)
    assert trained.weights == weights_digest(build().state_dict())
    assert (trained.seconds, trained.fresh) == (0.0, False)
    assert not checkpoints(cache, "")


def test_a_share_of_the_samples() -> None:
    few = RECIPE.model_copy(update={"train_samples": 40})
    assert run(recipe=few).weights != run().weights


# --- divergence ---


class Poisoned(nn.Module):
    """Its loss is not a number from a certain forward pass on."""

    def __init__(self, sound: int) -> None:
        super().__init__()
        self.linear, self.sound = nn.Linear(64, 10), sound

    def forward(self, images: Tensor) -> Tensor:
        self.sound -= 1
        return self.linear(images.flatten(1)) * (1.0 if self.sound >= 0 else float("nan"))


class Steep(nn.Module):
    """Its loss is always finite; its gradient never is."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, 10))

    def forward(self, images: Tensor) -> Tensor:
        return torch.sqrt(self.weight.abs()).nan_to_num().expand(len(images), 10)


@pytest.mark.parametrize("sound", [0, 3, STEPS - 1])
def test_a_loss_that_is_not_finite(sound: int, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("robustbench_wb.training.loop.SNAPSHOT_SECONDS", 0.0)
    with pytest.raises(DivergedError, match="lower the learning rate"):
        run(lambda: Poisoned(sound))
    assert checkpoints(cache, "") == []


def test_a_rate_that_is_too_high(cache: Path) -> None:
    with pytest.raises(DivergedError, match="diverged"):
        run(recipe=RECIPE.model_copy(update={"learning_rate": 1e30}))
    assert checkpoints(cache, "") == []


def test_a_last_step_to_weights_that_are_not_finite(cache: Path) -> None:
    with pytest.raises(DivergedError, match="weights are not finite after the last step"):
        run(Steep, recipe=Recipe(epochs=1, batch=100))
    assert checkpoints(cache, "") == []


# --- stopping and going on ---


class Stop(BaseException):
    """Not an Exception, as when a process is told to end."""


class StopAt:
    """A progress that stops the run after so many steps."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    @contextmanager
    def stage(self, label: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        assert (label, total, unit) == ("train net on digits", STEPS, "steps")

        def advance(count: int) -> None:
            self.steps -= count
            if self.steps < 0:
                raise Stop

        yield advance


AGAINST = RECIPE.model_copy(
    update={"adversary": Adversary(method="trades", eps="16/255", steps=2, beta=6.0, warmup=0.7)}
)


@pytest.mark.parametrize(
    ("stop", "recipe"), [*((stop, RECIPE) for stop in (1, 2, 6, 7, 8, 13, 14, STEPS - 1)), (10, AGAINST)]
)
def test_a_resumed_run_equals_an_unbroken_one(
    stop: int, recipe: Recipe, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unbroken = run(recipe=recipe)
    final = json.loads(checkpoints(cache, ".json")[0].read_text())["final_loss"]
    monkeypatch.setenv("RBWB_CACHE_DIR", str(tmp_path / "other"))
    monkeypatch.setattr("robustbench_wb.training.loop.SNAPSHOT_SECONDS", 0.0)
    with pytest.raises(Stop):
        run(recipe=recipe, progress=StopAt(stop))
    assert [p.suffix for p in checkpoints(tmp_path / "other", "")] == [".partial"]
    torch.manual_seed(stop)
    steps: list[int] = []

    def watched(*given: Any, **options: Any) -> float:
        steps.append(options["position"].step)
        return train(*given, **options)

    monkeypatch.setattr(train_or_load, "train", watched)
    resumed = run(recipe=recipe)
    assert steps == [stop]  # went on where it was: the step that was stopped in was not kept
    assert resumed.weights == unbroken.weights
    assert not checkpoints(tmp_path / "other", ".partial")
    (card,) = checkpoints(tmp_path / "other", ".json")
    assert json.loads(card.read_text())["final_loss"] == final


def test_time_adds_up_over_sessions(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("robustbench_wb.training.loop.SNAPSHOT_SECONDS", 0.0)
    with pytest.raises(Stop):
        run(progress=StopAt(10))
    (path,) = checkpoints(cache, ".partial")
    model = build()
    optimizer = make_optimizer(model, RECIPE)
    position = snapshot.load_snapshot(path, model, optimizer)
    assert 0 < position.seconds < 60
    assert len(position.losses) == 10 % 7
    position.seconds = 1000.0
    snapshot.save_snapshot(path, model=model, optimizer=optimizer, position=position)
    assert 1000 < run().seconds < 1060


def nonsense(path: Path) -> None:
    path.write_bytes(b"nonsense")


def foreign(path: Path) -> None:
    save_file({"x": torch.zeros(1)}, path)


@pytest.mark.parametrize("damage", [flip, cut, pickled, nonsense, foreign])
def test_a_damaged_snapshot_starts_over(
    damage: Callable[[Path], None], cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = run().weights
    for path in checkpoints(cache, ""):
        path.unlink()
    monkeypatch.setattr("robustbench_wb.training.loop.SNAPSHOT_SECONDS", 0.0)
    with pytest.raises(Stop):
        run(progress=StopAt(10))
    damage(checkpoints(cache, ".partial")[0])
    with caplog.at_level(logging.WARNING):
        assert run().weights == expected
    assert "training starts over" in caplog.text


def test_a_damaged_snapshot_touches_nothing(tmp_path: Path) -> None:
    model = build()
    optimizer = make_optimizer(model, RECIPE)
    path = tmp_path / "x.partial"
    snapshot.save_snapshot(path, model=build(seed=5), optimizer=optimizer, position=TrainingState(3, 1.0))
    flip(path)
    assert snapshot.load_snapshot(path, model, optimizer) == TrainingState(0, 0.0)
    assert weights_digest(model.state_dict()) == weights_digest(build().state_dict())


def test_a_snapshot_that_cannot_be_written_does_not_stop_the_run(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(path: Path, write: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("robustbench_wb.training.loop.SNAPSHOT_SECONDS", 0.0)
    monkeypatch.setattr(snapshot, "write_atomic", full)
    with caplog.at_level(logging.WARNING):
        assert run().fresh
    assert "goes on without it" in caplog.text


def test_a_full_disk_at_the_end_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, write: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "write_atomic", full)
    with pytest.raises(CheckpointError, match=r"cannot be written: .*No space left"):
        run()


def test_memory_mapped_images_train(tmp_path: Path) -> None:
    split = digits()
    np.save(tmp_path / "images.npy", split.inputs)
    mapped = Split(inputs=np.load(tmp_path / "images.npy", mmap_mode="r"), labels=split.labels)
    assert run(split=mapped).weights == run(device=CPU).weights


@pytest.mark.parametrize(("count", "left_out"), [(97, True), (96, False), (98, False)])
def test_batch_normalisation_and_a_last_batch_of_one(
    count: int, left_out: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The lone sample is left out, and said; the weights are those of the split without it."""
    with caplog.at_level(logging.WARNING):
        trained = run(split=digits(count))
    assert ("net on digits: one of 97 training samples is left out" in caplog.text) == left_out
    if left_out:
        assert trained.weights == run(split=digits(count - 1)).weights


def test_a_model_that_trains_on_one_sample_keeps_it(caplog: pytest.LogCaptureFixture) -> None:
    def plain() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(72, 10))

    with caplog.at_level(logging.WARNING):
        trained = run(plain, split=digits(97), model_code="plain")
    assert "left out" not in caplog.text
    assert trained.weights != run(plain, split=digits(96), model_code="plain").weights
