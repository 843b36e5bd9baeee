"""Shortcuts against scikit-learn and plain loops."""

from collections import Counter, defaultdict

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from robustbench_wb.models.shape import PAD, TextShape
from robustbench_wb.tasks.catalogue import find_task
from robustbench_wb.tasks.task import Dataset, Split
from robustbench_wb.training.shortcuts.bags import BagOfTokens, BagOverlap
from robustbench_wb.training.shortcuts.catalogue import SHORTCUTS
from robustbench_wb.training.shortcuts.listops import RootAndLiterals, RootOperator
from robustbench_wb.training.shortcuts.majority import Majority
from robustbench_wb.training.shortcuts.pixel_regression import PixelRegression
from robustbench_wb.training.shortcuts.shortcut import LookupBaseline, Shortcut


@pytest.fixture(scope="module")
def listops() -> Dataset:
    return find_task("listops-64").load(None)


def fitted(kind: type[Shortcut], dataset: Dataset) -> Shortcut:
    assert isinstance(dataset.shape, TextShape)
    model = kind(dataset.shape)
    model.fit(dataset.train)
    return model


def accuracy(model: Shortcut, split: Split) -> float:
    tokens = torch.tensor(split.inputs).long()
    return float((model(tokens).argmax(1).numpy() == split.labels).mean())


def test_every_shortcut_has_the_name_that_it_is_registered_under() -> None:
    assert all(SHORTCUTS.get(name).name == name for name in SHORTCUTS.names())


def test_lookups_are_the_most_frequent_labels(listops: Dataset) -> None:
    known: dict[int, Counter[int]] = {}
    for row, label in zip(listops.train.inputs, listops.train.labels.tolist(), strict=True):
        known.setdefault(int(row[1]), Counter())[label] += 1
    guesses = [known[int(row[1])].most_common(1)[0][0] for row in listops.test.inputs]
    assert accuracy(fitted(RootOperator, listops), listops.test) == np.mean(guesses == listops.test.labels)
    assert 0.08 < accuracy(fitted(Majority, listops), listops.test) < 0.12
    # The digits below the root tell more than the root, and far from all: these expressions are nested.
    assert (
        np.mean(guesses == listops.test.labels) + 0.15 < accuracy(fitted(RootAndLiterals, listops), listops.test) < 0.5
    )


class FirstToken(LookupBaseline):
    """For tests: the feature is the first id of a row."""

    name = "first-token"
    kinds = 100

    def features(self, tokens: Tensor) -> Tensor:
        return tokens[:, 0]


def guessed(features: list[int], labels: list[int], asked: list[int]) -> list[int]:
    model = FirstToken(TextShape(vocabulary=100, length=1, classes=10))
    model.fit(Split(inputs=np.array(features, np.int32)[:, None], labels=np.array(labels)))
    guesses: list[int] = model(torch.tensor(asked)[:, None]).argmax(1).tolist()
    return guesses


def test_the_smallest_label_wins_a_tie_and_what_was_never_seen_gets_the_most_frequent_of_all() -> None:
    assert guessed([3, 3, 3, 8, 8, 0], [1, 5, 5, 6, 2, 5], [8, 3, 0, 4, 99]) == [2, 5, 5, 5, 5]


def test_lookups_in_loops() -> None:
    draw = np.random.RandomState(0)
    features, labels, asked = (
        draw.randint(top, size=size).tolist() for top, size in ((40, 3000), (10, 3000), (40, 500))
    )
    counts: dict[int, Counter[int]] = defaultdict(Counter)
    for feature, label in zip(features, labels, strict=True):
        counts[feature][label] += 1
    expected = [min(counts[one], key=lambda label: (-counts[one][label], label)) for one in asked]
    assert guessed(features, labels, asked) == expected


def test_padding_and_batching_change_nothing(listops: Dataset) -> None:
    tokens = torch.tensor(listops.test.inputs[:50]).long()
    for kind in (RootOperator, RootAndLiterals, BagOfTokens):
        model = fitted(kind, listops)
        wide = torch.nn.functional.pad(tokens, (0, 7), value=PAD)
        torch.testing.assert_close(model(wide), model(tokens))
        torch.testing.assert_close(torch.cat([model(tokens[:20]), model(tokens[20:])]), model(tokens))


def test_bags_are_scikit_learns_logistic_regression(listops: Dataset) -> None:
    def bags(split: Split) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
        counts = np.array([np.bincount(row, minlength=20) for row in split.inputs[:3000]], np.float64)
        counts[:, PAD] = 0
        return np.sqrt(counts / counts.sum(1, keepdims=True))

    train = Split(inputs=listops.train.inputs[:3000], labels=listops.train.labels[:3000])
    reference = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300)).fit(bags(train), train.labels)
    assert isinstance(listops.shape, TextShape)
    model = BagOfTokens(listops.shape)
    model.fit(train)
    logits = model(torch.from_numpy(np.asarray(listops.test.inputs)).long())
    chances = reference.predict_proba(bags(listops.test))
    np.testing.assert_allclose(logits.softmax(1).numpy(), chances, atol=5e-3)


@pytest.mark.parametrize("classes", [[0, 1], [1, 2], [0, 1, 3]])
def test_the_regression_is_that_of_scikit_learn_also_with_two_classes_and_absent_ones(classes: list[int]) -> None:
    draw = np.random.RandomState(0)
    levels = draw.randint(5, 261, (300, 12)).astype(np.int32)
    labels = np.array(classes)[(levels[:, :3].argmax(1) + draw.randint(0, 2, 300)) % len(classes)]
    rows = np.pad(levels, ((0, 0), (1, 0)), constant_values=2)
    model = PixelRegression(TextShape(vocabulary=261, length=13, classes=4))
    model.fit(Split(inputs=rows, labels=labels))
    features = model.split_features(rows).double().numpy()
    reference = make_pipeline(StandardScaler(), LogisticRegression(tol=1e-9)).fit(features, labels)
    chances = model(torch.from_numpy(rows).long()).softmax(1).numpy()
    np.testing.assert_allclose(chances[:, classes], reference.predict_proba(features), atol=1e-5)
    assert chances[:, [k for k in range(4) if k not in classes]].max() == 0


def pairs(count: int, seed: int) -> Split:
    """Two documents of one letter each, together when it is the same one; and of like lengths throughout."""
    draw = np.random.RandomState(seed)
    letters = draw.randint(5, 12, (count, 2))
    labels = np.arange(count) % 2
    letters[labels == 1, 1] = letters[labels == 1, 0]
    rows = np.zeros((count, 2, 16), np.int32)
    for row, (first, second) in zip(rows, letters, strict=True):
        for document, letter in zip(row, (first, second), strict=True):
            document[: draw.randint(4, 16)] = letter
            document[0] = 2
    return Split(inputs=rows.reshape(count, 32), labels=labels)


def test_pairs_are_compared_by_what_they_share() -> None:
    shape = TextShape(vocabulary=12, length=16, classes=2, documents=2)
    train, test = pairs(600, 0), pairs(300, 1)
    overlap, bag = BagOverlap(shape), BagOfTokens(shape)
    overlap.fit(train)
    bag.fit(train)
    chance = 0.5 * (1 + 1 / 7)  # apart, and yet of the same letter
    assert accuracy(overlap, test) > 0.9 > chance > accuracy(bag, test) - 0.1
    trimmed = torch.from_numpy(test.inputs[:4, :20]).long()
    assert bag(trimmed).shape == overlap(trimmed).shape == (4, 2)


def test_pixels_have_weights_of_their_own() -> None:
    draw = np.random.RandomState(0)
    levels = draw.randint(5, 261, (800, 10)).astype(np.int32)
    labels = (levels[:, 3] > 130).astype(np.int64)
    rows = np.pad(levels, ((0, 0), (1, 0)), constant_values=2)
    model = PixelRegression(TextShape(vocabulary=261, length=11, classes=2))
    model.fit(Split(inputs=rows[:600], labels=labels[:600]))
    assert accuracy(model, Split(inputs=rows[600:], labels=labels[600:])) > 0.95
    assert int(model.weight[1].argmax()) == 3
