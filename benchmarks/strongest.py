"""Is the native ensemble the strongest? Robust accuracy under it and under every single attack of four libraries.

    python benchmarks/strongest.py [--task fashion-mnist --data-dir DIR --scale small --samples 1000]

For a plainly and an adversarially trained model, at one radius: the native ensembles, the original AutoAttack where it
is installed (it is on no package index), PGD-40 as four engines run it, and the members of AutoAttack as torchattacks
has them (100 steps, 9 targets, 5,000 queries), each on all samples that are right when clean. `missed` counts samples
that a row breaks and the native autoattack does not.
"""

import argparse
import importlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from fractions import Fraction
from typing import Any

import torch
from peers import ATTACKS, Setting
from subjects import Bench, Choice, prepare
from torch import Tensor

from robustbench_wb.spec import parse_exact
from robustbench_wb.stats.intervals import wilson
from robustbench_wb.stressors.catalogue import parse_stressor
from robustbench_wb.stressors.stressor import SampleBatch, predict
from robustbench_wb.tasks.catalogue import find_task

ENSEMBLES = ("autoattack-{norm}", "quick-{norm}")
SINGLE = ("pgd-{norm};steps=40", "apgd-{norm};steps=100", "square-{norm};queries=5000")
LIBRARY = ("APGD;steps=100", "APGDT;steps=100", "FAB;steps=100;multi_targeted=True", "Square;n_queries=5000")
RADII = {"digits": {"standard": "16/255", "pgd-at": "32/255"}}
DEFAULT = {"standard": "4/255", "pgd-at": "8/255"}


def stressed(bench: Bench, signature: str) -> Tensor:
    """The images that one of our own stressors, or one of the library's, makes."""
    job = SampleBatch(bench.model, bench.images, bench.labels, bench.ids, 0, bench.batch)
    return parse_stressor(signature).apply(job).inputs


def original_autoattack() -> Callable[[Bench, str, Fraction], Tensor] | None:
    """The standard version of its authors' package; None without it.

    torchattacks 3.3 brings a package of the same name that cannot be used, and has no ``checks``.
    """
    try:
        importlib.import_module("autoattack.checks")
    except ImportError:
        return None
    kind = importlib.import_module("autoattack").AutoAttack

    def run(bench: Bench, norm: str, eps: Fraction) -> Tensor:
        attack = kind(bench.model, norm=norm.capitalize(), eps=float(eps), seed=0, device="cpu", verbose=False)
        found: Tensor = attack.run_standard_evaluation(bench.images, bench.labels, bs=bench.batch)
        return found

    return run


def rows(bench: Bench, norm: str, eps: Fraction) -> Iterator[tuple[str, Tensor]]:
    """Name and images of every attack, the ensembles first, and then the faster before the slower."""
    yield from native(bench, ENSEMBLES, norm, eps)
    if (original := original_autoattack()) is not None:
        yield "original AutoAttack", original(bench, norm, eps)
    for library, make in ATTACKS.items():
        if library != "native":
            yield f"{library} PGD-40", make(bench)([Setting(norm, eps, 40, Fraction(1, 8))], 0)[0]
    yield from native(bench, SINGLE, norm, eps)
    for signature in LIBRARY:
        name, _, numbers = signature.partition(";")
        yield (
            f"torchattacks {signature}",
            stressed(bench, f"torchattacks:{name};norm={norm.capitalize()};eps={eps};{numbers}"),
        )


def native(bench: Bench, signatures: Sequence[str], norm: str, eps: Fraction) -> Iterator[tuple[str, Tensor]]:
    """Our own attacks."""
    for signature in signatures:
        name, semicolon, numbers = signature.format(norm=norm).partition(";")
        yield signature.format(norm=norm), stressed(bench, f"{name};eps={eps}{semicolon}{numbers}")


def still_right(bench: Bench, images: Tensor, norm: str, eps: Fraction) -> Tensor:
    """Which samples hold, bool (N,); an image outside ball or box is refused."""
    parse_stressor(f"noise-{norm};eps={eps}").check(bench.images, images)
    return predict(bench.model, images, bench.batch).argmax(1) == bench.labels


def measure(bench: Bench, asked: int, norm: str, eps: Fraction) -> None:
    """One table. Shares are of all samples asked for."""
    print("\n| attack | robust % | 95 % | missed | seconds |\n|---|---|---|---|---|", flush=True)
    ensemble = None
    started = time.perf_counter()
    for name, images in rows(bench, norm, eps):
        seconds = time.perf_counter() - started
        right = still_right(bench, images, norm, eps)
        ensemble = right if ensemble is None else ensemble
        count, missed = int(right.sum()), int((ensemble & ~right).sum())
        ends = wilson(count, asked)
        span = f"[{100 * ends.low:.1f}, {100 * ends.high:.1f}]"
        print(f"| {name} | {100 * count / asked:.1f} | {span} | {missed} | {seconds:.0f} |", flush=True)
        started = time.perf_counter()


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="digits")
    parser.add_argument("--data-dir")
    parser.add_argument("--variant", default="vit")
    parser.add_argument("--size", default="nano")
    parser.add_argument("--recipe", action="append", choices=list(DEFAULT), help="may be repeated; default: both")
    parser.add_argument("--scale", default="smoke", choices=["smoke", "small", "full"])
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--norm", default="linf", choices=["linf", "l2"])
    parser.add_argument("--eps", help="default: one at which most samples of the plain model still hold")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser.parse_args()


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    given: dict[str, Any] = {part.name: getattr(options, part.name, None) for part in fields(Choice)}
    for recipe in options.recipe or list(DEFAULT):
        bench = prepare(Choice(**given), recipe)
        asked = min(options.samples, len(find_task(options.task).load(options.data_dir).test))
        eps = parse_exact(options.eps or RADII.get(options.task, DEFAULT)[recipe])
        subject = f"{options.variant} {options.size}, {recipe}, {options.task}"
        print(f"\n## {subject}: {options.norm} {eps}, n = {asked}, right when clean {len(bench.ids)}")
        measure(bench, asked, options.norm, eps)


if __name__ == "__main__":
    main()
