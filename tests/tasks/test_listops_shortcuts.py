"""Shortcut features of ListOps compared with plain loops, and accuracies known for the published generator."""

import numpy as np
import pytest
import torch

from robustbench_wb.models.shape import TextShape
from robustbench_wb.tasks.listops.blocks import ExpressionParameters
from robustbench_wb.tasks.listops.expression import VOCABULARY, to_text, to_tokens
from robustbench_wb.tasks.listops.expression_array import token_matrix
from robustbench_wb.tasks.listops.generate import generate_expressions
from robustbench_wb.tasks.listops.shortcut_features import root_and_literals, root_operator
from robustbench_wb.tasks.task import Split
from robustbench_wb.training.shortcuts.listops import RootAndLiterals, RootOperator
from robustbench_wb.training.shortcuts.shortcut import LookupBaseline
from tests.tasks import listops_reference as reference


def literals(text: str) -> list[str]:
    """Digits directly below the root."""
    depth, found = 0, []
    for word in text.split():
        depth += (word[0] == "[") - (word == "]")
        if depth == 1 and word.isdigit():
            found.append(word)
    return found


def test_features_are_those_of_the_texts() -> None:
    found = generate_expressions(
        2000, ExpressionParameters(min_length=16, max_length=96, max_depth=4), seed=0, stream="tests"
    )
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


@pytest.mark.parametrize(("kind", "score"), [(RootOperator, 0.365), (RootAndLiterals, 0.481)])
def test_published_scores(kind: type[LookupBaseline], score: float) -> None:
    """Accuracies agree within sampling error, which is 0.6 points for the known ones."""
    found = generate_expressions(8000, ExpressionParameters(), seed=0, stream="tests")
    model = kind(TextShape(vocabulary=VOCABULARY, length=2000, classes=10))
    model.fit(Split(inputs=token_matrix(found, range(4000), 2000), labels=found.labels[:4000]))
    tokens = torch.from_numpy(token_matrix(found, range(4000, 8000), 2000))
    hits = model(tokens).argmax(1).numpy() == found.labels[4000:]
    error = np.hypot(0.006, (score * (1 - score) / 4000) ** 0.5)
    assert abs(hits.mean() - score) < 2 * error
