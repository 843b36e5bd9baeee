"""Shortcuts of ListOps: the features in plain loops, and the scores known from the published generator."""

from collections import Counter, defaultdict
from collections.abc import Callable

import listops_reference as reference
import numpy as np
import pytest

from robustbench_wb.tasks.listops.blocks import Parameters
from robustbench_wb.tasks.listops.expression import to_text, to_tokens
from robustbench_wb.tasks.listops.expressions import token_matrix
from robustbench_wb.tasks.listops.generate import generate
from robustbench_wb.tasks.listops.shortcuts import most_frequent, root_and_literals, root_operator


def literals(text: str) -> list[str]:
    """The digits right below the root."""
    depth, found = 0, []
    for word in text.split():
        depth += (word[0] == "[") - (word == "]")
        if depth == 1 and word.isdigit():
            found.append(word)
    return found


def test_features_are_those_of_the_texts() -> None:
    found = generate(2000, Parameters(min_length=16, max_length=96, max_depth=4), 0, "tests")
    tokens = token_matrix(found, range(2000), 100)
    for row, (root, feature) in enumerate(zip(root_operator(tokens), root_and_literals(tokens), strict=True)):
        text = to_text(found.tokens(row))
        assert root == to_tokens(text)[0]
        digits = literals(text)
        value = reference.value(f"{text.split()[0]} {' '.join(digits)} ]") if digits else 10
        assert feature == root * 11 + value


def test_samples_that_are_no_expressions_have_features_too() -> None:
    tokens = np.array([[2, 7, 0, 0, 0, 0], [2, 4, 8, 16, 9, 19]], np.int32)  # a digit; a root that was hidden
    assert root_operator(tokens).tolist() == [7, 4]
    assert root_and_literals(tokens).tolist() == [7 * 11 + 10, 4 * 11 + 10]


def test_most_frequent_labels() -> None:
    features, labels = np.array([3, 3, 3, 8, 8, 0]), np.array([1, 5, 5, 6, 2, 5])
    assert most_frequent(features, labels, np.array([8, 3, 0, 4, 99])).tolist() == [2, 5, 5, 5, 5]


def test_most_frequent_labels_in_loops() -> None:
    draw = np.random.RandomState(0)
    features, labels, asked = draw.randint(40, size=3000), draw.randint(10, size=3000), draw.randint(40, size=500)
    counts: dict[int, Counter[int]] = defaultdict(Counter)
    for feature, label in zip(features, labels, strict=True):
        counts[feature][label] += 1
    expected = [min(counts[one], key=lambda label: (-counts[one][label], label)) for one in asked]
    assert most_frequent(features, labels, asked).tolist() == expected


@pytest.mark.parametrize(("read", "score"), [(root_operator, 0.365), (root_and_literals, 0.481)])
def test_published_scores(read: Callable[[np.ndarray], np.ndarray], score: float) -> None:
    """Both samples have an error: the known scores one of 0.6 points."""
    found = generate(8000, Parameters(), 0, "tests")
    features = np.concatenate([read(token_matrix(found, range(at, at + 2000), 2000)) for at in range(0, 8000, 2000)])
    guesses = most_frequent(features[:4000], found.labels[:4000], features[4000:])
    error = np.hypot(0.006, (score * (1 - score) / 4000) ** 0.5)
    assert abs((guesses == found.labels[4000:]).mean() - score) < 2 * error
