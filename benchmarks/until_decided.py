"""What ``run --until-decided`` saves: forward and backward passes of attacks, against a run on all samples.

    python benchmarks/until_decided.py --data-dir data        Fashion-MNIST, 1,000 samples; about ten minutes on a CPU

A small network is the baseline. One version of it has noisy weights, so that it loses about ten points; another is
trained anew with another seed. Each is measured whole, and until it is decided, by ``robustbench_wb.run``.
"""

import argparse
import tempfile
from collections.abc import Sequence
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from robustbench_wb import gate, run
from robustbench_wb.api.run import RunResult
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.tasks.catalogue import find_task

ATTACKS: Final = ("pgd-linf;eps=4/255;steps=20;restarts=1", "square-linf;eps=4/255;queries=100")
RADII: Final = ("2/255", "4/255")
DROP: Final = 0.10
"""Drop of the accuracy on training images, after one gradient step, that the noise of the weights is chosen for."""


class Data(NamedTuple):
    """Evaluated data."""

    folder: str | None
    """Local mirror of datasets; None: as the package finds them."""
    samples: int


def network(inputs: Tensor, labels: Tensor, seed: int) -> nn.Module:
    """A network of one hidden layer, trained on images in [0, 1]."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(inputs[0].numel(), 128), nn.ReLU(), nn.Linear(128, 10))
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(6):
        for rows in torch.chunk(torch.randperm(len(inputs)), len(inputs) // 128):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(inputs[rows]), labels[rows]).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    return model


def accuracy(model: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Accuracy after one gradient step of 2/255."""
    images = inputs.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(model(images), labels), images)
    moved = (inputs + 2 / 255 * gradient.sign()).clamp(0, 1)
    return float((model(moved).argmax(1) == labels).float().mean())


def noisy(model: nn.Module, inputs: Tensor, labels: Tensor) -> nn.Module:
    """The model with Gaussian noise on its first weights, whose deviation is found by bisection."""
    copy = nn.Sequential(nn.Flatten(), nn.Linear(inputs[0].numel(), 128), nn.ReLU(), nn.Linear(128, 10))
    weights = model.state_dict()
    noise = torch.randn(weights["1.weight"].shape, generator=torch.Generator().manual_seed(0))
    low, high, wanted = 0.0, 0.5, accuracy(model, inputs, labels) - DROP
    for _ in range(12):
        middle = (low + high) / 2
        copy.load_state_dict({**weights, "1.weight": weights["1.weight"] + middle * noise})
        low, high = (middle, high) if accuracy(copy, inputs, labels) > wanted else (low, middle)
    return copy


def passes(rows: Sequence[ScoreRow]) -> float:
    """Forward and backward passes of all attacks."""
    return sum(row.n * (row.forwards + row.backwards) for row in rows if row.stressor != "clean")


def measured(model: nn.Module, place: str, data: Data, *, baseline: str = "", margin: float = 1.0) -> RunResult:
    """Measure a model on all samples, or with a baseline until it is decided."""
    return run(
        results=place,
        variants={"network": model},
        tasks="fashion-mnist",
        recipe="none",
        samples=data.samples,
        stressors=ATTACKS,
        epsilons=RADII,
        data_dir=data.folder,
        device="cpu",
        executor="inline",
        until_decided=bool(baseline),
        baseline=baseline or None,
        margin=margin if baseline else None,
    )


def compare(name: str, version: nn.Module, data: Data, *, folder: str, margin: float) -> None:
    """Measure a version whole and until it is decided, and print both."""
    baseline, whole, early = (f"{folder}/{place}" for place in ("baseline", f"{name}-whole", f"{name}-early"))
    every = measured(version, whole, data)
    found = measured(version, early, data, baseline=baseline, margin=margin)
    fixed, ended = (
        {one.row.cell: one for one in result.judgements if one.row is not None and one.outcome != "doubtful"}
        for result in (gate(baseline, results=place, margin=margin) for place in (whole, early))
    )
    print(f"\n{name}, margin {margin:g} points: {passes(found.rows) / passes(every.rows):.0%} of the passes of attacks")
    print("cell              drop of all samples  fixed gate  until decided  samples")
    for row in (row for row in found.rows if row.stressor != "clean"):
        pair, total = fixed[row.cell].found, row.planned or row.n
        drop = -100 * ((pair.difference if pair is not None else None) or 0.0)
        outcomes = f"{fixed[row.cell].outcome:10}  {ended[row.cell].outcome:13}"
        print(f"{row.cell:16}  {drop:19.1f}  {outcomes}  {row.n:,} of {total:,}")


def main() -> None:
    """Read the options, train the networks and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", default=None)
    parser.add_argument("--samples", type=int, default=1000)
    options = parser.parse_args()
    data = Data(options.data_dir, options.samples)
    train = find_task("fashion-mnist").load(data.folder).train
    rows = range(20_000)
    inputs = torch.from_numpy(train.inputs[rows]).float() / 255
    labels = torch.from_numpy(train.labels[rows].copy()).long()
    old = network(inputs, labels, 0)
    with tempfile.TemporaryDirectory() as folder:
        measured(old, f"{folder}/baseline", data)
        compare("noisy weights", noisy(old, inputs, labels), data, folder=folder, margin=1)
        compare("trained anew", network(inputs, labels, 1), data, folder=folder, margin=5)


if __name__ == "__main__":
    main()
