"""Strength and cost of the native ensembles: robust accuracy, passes, and the share of all breakable samples broken.

    python benchmarks/strong.py [--samples 100] [--model NAME] [--norm l2]        about 20 minutes on a CPU

Models of the digits after standard and adversarial training are attacked by the ensembles in one ball each. Every
ensemble gets all samples that are correct when clean. `optimal` is the share of the samples broken by any of them that
the ensemble of the row breaks (pointwise optimality), with its 95 % Wilson interval. Passes are forward passes and
input gradients per attacked sample. They do not depend on the machine, as the seconds do, which are processor time of
one thread.
"""

import argparse
import time
from collections.abc import Callable
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from subjects import AttackedModel, ModelChoice, prepare
from torch import nn
from zoo import HONEST, test_data

from robustbench_wb.stats.intervals import wilson
from robustbench_wb.stressors.catalogue import parse_stressor

ENSEMBLES: Final = ("autoattack", "strong", "quick")
RADII: Final = {"linf": "16/255", "l2": "1/2"}


def of_zoo(name: str) -> Callable[[], AttackedModel]:
    """Function that trains a small model of the zoo."""
    return lambda: attacked(HONEST[name]())


def of_package(recipe: str) -> Callable[[], AttackedModel]:
    """Function that trains a vit by a recipe, or finds it in the cache."""
    choice = ModelChoice(
        task="digits",
        variant="vit",
        size="nano",
        scale="smoke",
        samples=None,
        side=None,
        epochs=None,
        data_dir=None,
        batch=256,
    )
    return lambda: prepare(choice, recipe)


def attacked(model: nn.Module) -> AttackedModel:
    """A model and the test samples that it classifies correctly."""
    images, labels = test_data()
    model = model.eval().requires_grad_(requires_grad=False)
    ids = torch.nonzero(model(images).argmax(1) == labels)[:, 0]
    return AttackedModel(model=model, images=images[ids], labels=labels[ids], ids=ids, batch=256)


MODELS: Final[dict[str, Callable[[], AttackedModel]]] = {
    "vit": of_package("standard"),
    "vit, adversarially trained": of_package("pgd-at"),
    **{
        name: of_zoo(name)
        for name in (
            "CNN, max pooling",
            "CNN, residual",
            "CNN, adversarially trained",
            "MLP, ReLU",
            "MLP, adversarially trained",
        )
    },
}


def broken_by(model: AttackedModel, signature: str, samples: int) -> tuple[NDArray[np.bool_], float, float]:
    """Samples that an attack breaks, bool (N,), passes per sample, and seconds of the processor."""
    first = np.arange(len(model.ids)) < samples
    started = time.process_time()
    found = parse_stressor(signature).apply(model.sample_batch(0).select(first), model.access)
    broken = np.zeros(int(first.sum()), np.bool_) if found.broken is None else found.broken
    return broken, float((found.forwards + found.backwards).mean()), time.process_time() - started


def rows(name: str, norm: str, samples: int) -> None:
    """Print the rows of one model and ball."""
    model = MODELS[name]()
    found = {one: broken_by(model, f"{one}-{norm};eps={RADII[norm]}", samples) for one in ENSEMBLES}
    union = np.logical_or.reduce([broken for broken, _, _ in found.values()])
    reference = found[ENSEMBLES[0]]
    for one, (broken, passes, seconds) in found.items():
        hit, total = int(broken.sum()), int(union.sum())
        low, high = wilson(hit, total)
        accuracy = f"{100 * (1 - broken.mean()):.1f}"
        share = f"{hit} of {total} | {hit / max(total, 1):.3f} [{low:.3f}, {high:.3f}]"
        cost = f"{passes:.0f} | {passes / reference[1]:.3f} | {seconds / reference[2]:.3f}"
        print(f"| {name} | {norm} {RADII[norm]} | {one} | {len(broken)} | {accuracy} | {share} | {cost} |", flush=True)


def main() -> None:
    """Read the options and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--model", action="append", choices=[*MODELS], help="may be repeated; default: all")
    parser.add_argument("--norm", action="append", choices=[*RADII], help="default: both")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(
        "| model | ball | attack | n | robust % | broken | optimal | passes | of autoattack | seconds of autoattack |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|", flush=True)
    for name in options.model or MODELS:
        for norm in options.norm or RADII:
            rows(name, norm, options.samples)


if __name__ == "__main__":
    main()
