"""Recipes, the learning-rate schedule, and augmentation against a naive reference."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from robustbench_wb import rng
from robustbench_wb.errors import UnknownNameError
from robustbench_wb.training.loop import TrainingData, augment, learning_rate, make_optimizer, total_steps
from robustbench_wb.training.recipe import AS_BUILT, Recipe, find_recipe


def test_schedule_by_hand() -> None:
    recipe = Recipe(epochs=1, learning_rate=0.4, warmup=0.2)
    rates = [learning_rate(recipe, step, 10) for step in range(10)]
    half_cosine = [0.2 * (1 + math.cos(math.pi * k / 8)) for k in range(8)]
    assert rates == pytest.approx([0.2, 0.4, *half_cosine], rel=1e-12)


@given(st.integers(1, 500), st.floats(0, 1), st.floats(1e-6, 10))
def test_schedule_rises_then_falls(total: int, warmup: float, peak: float) -> None:
    recipe = Recipe(epochs=1, learning_rate=peak, warmup=warmup)
    rates = np.array([learning_rate(recipe, step, total) for step in range(total)])
    top = int(rates.argmax())
    assert rates[top] == pytest.approx(peak)
    assert (np.diff(rates[: top + 1]) >= 0).all()
    assert (np.diff(rates[top:]) <= 1e-12 * peak).all()
    assert (rates > 0).all()


@pytest.mark.parametrize(("samples", "batch", "steps"), [(100, 16, 21), (96, 16, 18), (1, 16, 3), (17, 16, 6)])
def test_steps(samples: int, batch: int, steps: int) -> None:
    assert total_steps(Recipe(epochs=3, batch=batch), samples) == steps


def naive(images: torch.Tensor, ids: list[int], recipe: Recipe, seed: int, epoch: int) -> torch.Tensor:
    result = []
    for image, sample in zip(images, ids, strict=True):
        alone = torch.tensor([sample])
        if recipe.flip and float(rng.uniform(alone, (1,), seed=seed, label="flip", step=epoch)) < 0.5:
            image = torch.stack([torch.stack([row.flip(0) for row in channel]) for channel in image])
        if recipe.shift:
            draws = rng.uniform(alone, (2,), seed=seed, label="shift", step=epoch)[0].tolist()
            down, right = (recipe.shift - int(draw * (2 * recipe.shift + 1)) for draw in draws)
            moved = torch.zeros_like(image)
            for row in range(image.shape[1]):
                for column in range(image.shape[2]):
                    if 0 <= row - down < image.shape[1] and 0 <= column - right < image.shape[2]:
                        moved[:, row, column] = image[:, row - down, column - right]
            image = moved
        result.append(image)
    return torch.stack(result)


@settings(max_examples=25, deadline=None)
@given(st.booleans(), st.integers(0, 6), st.integers(0, 2**62), st.integers(0, 1000), st.sampled_from([1, 3]))
def test_augment_equals_a_naive_reference(flip: bool, shift: int, seed: int, epoch: int, channels: int) -> None:
    recipe = Recipe(epochs=1, flip=flip, shift=shift)
    ids = [5, 0, 123456, 7, 5]
    images = torch.rand(5, channels, 4, 5, generator=torch.Generator().manual_seed(1))
    got = augment(images, torch.tensor(ids), recipe=recipe, seed=seed, epoch=epoch)
    assert torch.equal(got, naive(images, ids, recipe=recipe, seed=seed, epoch=epoch))
    assert got.is_contiguous()  # models may take a view


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(9)), st.integers(1, 8), st.integers(0, 50))
def test_augment_does_not_see_the_batch(order: list[int], cut: int, epoch: int) -> None:
    recipe = Recipe(epochs=1, flip=True, shift=2)
    images = torch.rand(9, 2, 5, 5, generator=torch.Generator().manual_seed(1))
    ids = torch.arange(9) * 11
    whole = augment(images, ids, recipe=recipe, seed=3, epoch=epoch)
    parts = [
        augment(images[part], ids[part], recipe=recipe, seed=3, epoch=epoch) for part in (order[:cut], order[cut:])
    ]
    assert torch.equal(torch.cat(parts), whole[order])


def test_augment_differs_by_seed_and_epoch_and_uses_every_shift() -> None:
    recipe = Recipe(epochs=1, flip=True, shift=1)
    images = torch.rand(2000, 1, 5, 5, generator=torch.Generator().manual_seed(1))
    images[:] = images[:1]
    ids = torch.arange(2000)
    base = augment(images, ids, recipe=recipe, seed=0, epoch=0)
    assert not torch.equal(base, augment(images, ids, recipe=recipe, seed=1, epoch=0))
    assert not torch.equal(base, augment(images, ids, recipe=recipe, seed=0, epoch=1))
    kinds, counts = torch.unique(base.flatten(1), dim=0, return_counts=True)
    assert len(kinds) == 2 * 9
    assert counts.min() > 60  # 111 expected of each


def test_decay_falls_on_matrices_only() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
    model[0].bias.requires_grad_(False)
    matrices, vectors = make_optimizer(model, Recipe(epochs=1, weight_decay=0.3)).param_groups
    assert (matrices["weight_decay"], [p.ndim for p in matrices["params"]]) == (0.3, [2])
    assert (vectors["weight_decay"], len(vectors["params"])) == (0.0, 2)


def test_a_share_of_the_samples_is_fixed_and_nested() -> None:
    data = TrainingData(torch.arange(50, dtype=torch.uint8).view(50, 1, 1, 1), torch.arange(50))

    def share(count: int | None, seed: int = 0) -> list[int]:
        part = data.select(Recipe(epochs=1, train_samples=count), seed)
        assert part.inputs.flatten().tolist() == part.labels.tolist()
        return part.labels.tolist()

    assert share(None) == share(50) == share(99) == list(range(50))
    assert share(10) == share(10) == sorted(share(10))
    assert len(set(share(10))) == 10
    assert set(share(10)) < set(share(20))
    assert share(10) != share(10, seed=1)


def test_finding_recipes() -> None:
    assert find_recipe("none", "digits", "smoke") is AS_BUILT
    budgets = [find_recipe("standard", "digits", scale).epochs for scale in ("smoke", "small", "full")]
    assert budgets == sorted(set(budgets))
    assert find_recipe("standard", "own/toy", "small") == find_recipe("standard", "cifar10", "small")
    for task, eps in (("digits", "32/255"), ("fashion-mnist", "8/255"), ("own/toy", "8/255")):
        for name, beta in (("pgd-at", None), ("trades", 6.0)):
            adversary = find_recipe(name, task, "smoke").adversary
            assert adversary is not None
            assert (str(adversary.eps), adversary.beta) == (eps, beta)
    with pytest.raises(UnknownNameError, match=r"unknown recipe 'standart'; did you mean standard\?"):
        find_recipe("standart", "digits", "smoke")


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"epochs": -1},
        {"epochs": 1, "batch": 0},
        {"epochs": 1, "learning_rate": 0},
        {"epochs": 1, "learning_rate": math.nan},
        {"epochs": 1, "warmup": 1.1},
        {"epochs": 1, "train_samples": 0},
        {"epochs": 1, "epoch": 2},
    ],
)
def test_recipes_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Recipe(**wrong)
