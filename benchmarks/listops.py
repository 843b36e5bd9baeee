"""How long 100,000 ListOps expressions take, and the statistics that the documentation quotes."""

import time

import numpy as np

from robustbench_wb.tasks.listops.blocks import Parameters, make_block
from robustbench_wb.tasks.listops.expressions import Expressions, token_matrix
from robustbench_wb.tasks.listops.generate import balanced_labels, generate, generate_labelled
from robustbench_wb.tasks.listops.shortcuts import most_frequent, root_and_literals, root_operator

COUNT, PART = 100_000, 2000


def scores(expressions: Expressions) -> None:
    """What the shortcuts reach: half of the expressions tell the labels, the other half is guessed."""
    half = len(expressions) // 2
    parts = [range(at, at + PART) for at in range(0, len(expressions), PART)]
    length = 1 + int(expressions.lengths.max())
    for read in (root_operator, root_and_literals):
        features = np.concatenate([read(token_matrix(expressions, part, length)) for part in parts])
        guesses = most_frequent(features[:half], expressions.labels[:half], features[half:])
        print(f"    {read.__name__}: {100 * (guesses == expressions.labels[half:]).mean():.1f} %")


def main() -> None:
    started = time.perf_counter()
    plain = generate(COUNT, Parameters(), 0, "benchmark")
    print(f"{COUNT} expressions: {time.perf_counter() - started:.1f} s in one process")
    shares = 100 * np.bincount(plain.labels) / COUNT
    print(f"    kept {100 * plain.accepted / plain.tried:.2f} % of {plain.tried}, length {plain.lengths.mean():.1f}")
    print(f"    labels {' '.join(f'{share:.1f}' for share in shares)} %")
    scores(plain)
    print("half as many, of balanced labels")
    scores(generate_labelled(balanced_labels(COUNT // 2, 0, "benchmark"), Parameters(), 0, "benchmark"))
    print("kept, and mean length, by limits and depth (up to 10 arguments)")
    for shortest, longest in ((64, 256), (256, 1024), (500, 2000)):
        for depth in (5, 6, 7, 8, 9, 10, 12):
            parameters = Parameters(min_length=shortest, max_length=longest, max_depth=depth)
            blocks = [make_block(parameters, 0, "benchmark", number) for number in range(100)]
            tried, kept = sum(block.tried for block in blocks), sum(len(block) for block in blocks)
            length = sum(len(block.symbols) for block in blocks) / max(kept, 1)
            print(f"    {shortest}-{longest} depth {depth}: {100 * kept / tried:.2f} %, {length:.0f}")


if __name__ == "__main__":
    main()
