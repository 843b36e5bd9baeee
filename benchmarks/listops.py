"""Time to generate 100,000 ListOps expressions, and the statistics that the documentation quotes."""

import time

import numpy as np
import torch

from robustbench_wb.models.shape import TextShape
from robustbench_wb.tasks.listops.blocks import ExpressionParameters, make_block
from robustbench_wb.tasks.listops.expression import DIGITS, VOCABULARY
from robustbench_wb.tasks.listops.expression_array import Expressions, token_matrix
from robustbench_wb.tasks.listops.generate import balanced_labels, generate_expressions, generate_labelled_expressions
from robustbench_wb.tasks.task import Split
from robustbench_wb.training.shortcuts.listops import RootAndLiterals, RootOperator

COUNT = 100_000
"""Number of expressions."""
PART = 2000
"""Number of expressions in one forward pass."""


def print_shortcut_accuracies(expressions: Expressions) -> None:
    """Print the accuracy of each shortcut baseline: fitted on one half of the expressions, evaluated on the other."""
    half, length = len(expressions) // 2, 1 + int(expressions.lengths.max())
    for kind in (RootOperator, RootAndLiterals):
        model = kind(TextShape(vocabulary=VOCABULARY, length=length, classes=DIGITS))
        model.fit(Split(inputs=token_matrix(expressions, range(half), length), labels=expressions.labels[:half]))
        parts = [range(at, at + PART) for at in range(half, len(expressions), PART)]
        predicted = [model(torch.from_numpy(token_matrix(expressions, part, length))).argmax(1) for part in parts]
        print(f"    {kind.name}: {100 * (torch.cat(predicted).numpy() == expressions.labels[half:]).mean():.1f} %")


def main() -> None:
    started = time.perf_counter()
    plain = generate_expressions(COUNT, ExpressionParameters(), seed=0, stream="benchmark")
    print(f"{COUNT} expressions: {time.perf_counter() - started:.1f} s in one process")
    shares = 100 * np.bincount(plain.labels) / COUNT
    print(f"    kept {100 * plain.accepted / plain.tried:.2f} % of {plain.tried}, length {plain.lengths.mean():.1f}")
    print(f"    labels {' '.join(f'{share:.1f}' for share in shares)} %")
    print_shortcut_accuracies(plain)
    print(f"{COUNT // 2} expressions with balanced labels")
    print_shortcut_accuracies(
        generate_labelled_expressions(
            balanced_labels(COUNT // 2, 0, "benchmark"), ExpressionParameters(), seed=0, stream="benchmark"
        )
    )
    print("share kept and mean length, by limits of length and depth (up to 10 arguments)")
    for shortest, longest in ((64, 256), (256, 1024), (500, 2000)):
        for depth in (5, 6, 7, 8, 9, 10, 12):
            parameters = ExpressionParameters(min_length=shortest, max_length=longest, max_depth=depth)
            blocks = [make_block(parameters, seed=0, stream="benchmark", number=number) for number in range(100)]
            tried, kept = sum(block.tried for block in blocks), sum(len(block) for block in blocks)
            length = sum(len(block.symbols) for block in blocks) / max(kept, 1)
            print(f"    {shortest}-{longest} depth {depth}: {100 * kept / tried:.2f} %, {length:.0f}")


if __name__ == "__main__":
    main()
