"""Strength of the native ensembles: robust accuracy under them and under every single attack of four libraries.

    python benchmarks/strongest.py [--task fashion-mnist --data-dir DIR --scale small --samples 1000]

Models of standard and of adversarial training are attacked at one radius by the native ensembles, the original
AutoAttack where it is installed (it is on no package index), PGD-40 of four libraries, and the attacks of AutoAttack in
torchattacks (100 steps, 9 targets, 5,000 queries). Every attack gets all samples that are correct when clean. `missed`
counts samples that the attack of a row breaks and the native autoattack does not.
"""

import argparse
import importlib
import time
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

import torch
from peers import ATTACKS, PgdSetting
from subjects import AttackedModel, ModelChoice, prepare
from torch import Tensor

from robustbench_wb.spec import parse_exact
from robustbench_wb.stats.intervals import wilson
from robustbench_wb.stressors.catalogue import parse_stressor
from robustbench_wb.tasks.catalogue import find_task

ENSEMBLES = ("autoattack-{norm}", "quick-{norm}")
SINGLE = ("pgd-{norm};steps=40", "apgd-{norm};steps=100", "square-{norm};queries=5000")
LIBRARY = ("APGD;steps=100", "APGDT;steps=100", "FAB;steps=100;multi_targeted=True", "Square;n_queries=5000")
RADII = {"digits": {"standard": "16/255", "pgd-at": "32/255"}}
"""Radius by task and training recipe, where it is not the default one."""
DEFAULT = {"standard": "4/255", "pgd-at": "8/255"}
"""Default radius by training recipe."""


def perturbed(attacked: AttackedModel, signature: str) -> Tensor:
    """Images (N, C, H, W) perturbed by the stressor of a signature: one of this package or of torchattacks."""
    return parse_stressor(signature).apply(attacked.sample_batch(0), attacked.access).inputs


def original_autoattack() -> Callable[[AttackedModel, str, Fraction], Tensor] | None:
    """Standard AutoAttack of the authors' package; None if it is not installed.

    torchattacks 3.3 installs a package of that name that cannot be used. It has no module ``checks``.
    """
    try:
        importlib.import_module("autoattack.checks")
    except ImportError:
        return None
    kind = importlib.import_module("autoattack").AutoAttack

    def run(attacked: AttackedModel, norm: str, eps: Fraction) -> Tensor:
        attack = kind(attacked.model, norm=norm.capitalize(), eps=float(eps), seed=0, device="cpu", verbose=False)
        found: Tensor = attack.run_standard_evaluation(attacked.images, attacked.labels, bs=attacked.batch)
        return found

    return run


def attack_results(attacked: AttackedModel, norm: str, eps: Fraction) -> Iterator[tuple[str, Tensor]]:
    """Name and perturbed images of every attack, ensembles first, then faster attacks before slower ones."""
    yield from native_results(attacked, ENSEMBLES, norm=norm, eps=eps)
    if (original := original_autoattack()) is not None:
        yield "original AutoAttack", original(attacked, norm, eps)
    for library, make in ATTACKS.items():
        if library != "native":
            setting = PgdSetting(norm=norm, eps=eps, steps=40, step=Fraction(1, 8))
            yield f"{library} PGD-40", make(attacked)([setting], 0)[0]
    yield from native_results(attacked, SINGLE, norm=norm, eps=eps)
    for signature in LIBRARY:
        name, _, numbers = signature.partition(";")
        yield (
            f"torchattacks {signature}",
            perturbed(attacked, f"torchattacks:{name};norm={norm.capitalize()};eps={eps};{numbers}"),
        )


def native_results(
    attacked: AttackedModel, signatures: Sequence[str], *, norm: str, eps: Fraction
) -> Iterator[tuple[str, Tensor]]:
    """Name and perturbed images of attacks of this package."""
    for signature in signatures:
        name, semicolon, numbers = signature.format(norm=norm).partition(";")
        yield signature.format(norm=norm), perturbed(attacked, f"{name};eps={eps}{semicolon}{numbers}")


def robust_samples(attacked: AttackedModel, images: Tensor, *, norm: str, eps: Fraction) -> Tensor:
    """Whether each sample is still classified correctly, bool (N,). Images outside the ball or [0, 1] are an error."""
    parse_stressor(f"noise-{norm};eps={eps}").check(attacked.images, images)
    return attacked.is_correct(images)


def measure(attacked: AttackedModel, *, total: int, norm: str, eps: Fraction) -> None:
    """Print the table of one model. Robust accuracy is over all ``total`` samples, those wrong when clean included."""
    print("\n| attack | robust % | 95 % | missed | seconds |\n|---|---|---|---|---|", flush=True)
    ensemble = None
    started = time.perf_counter()
    for name, images in attack_results(attacked, norm, eps):
        seconds = time.perf_counter() - started
        right = robust_samples(attacked, images, norm=norm, eps=eps)
        ensemble = right if ensemble is None else ensemble
        count, missed = int(right.sum()), int((ensemble & ~right).sum())
        ends = wilson(count, total)
        span = f"[{100 * ends.low:.1f}, {100 * ends.high:.1f}]"
        print(f"| {name} | {100 * count / total:.1f} | {span} | {missed} | {seconds:.0f} |", flush=True)
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
    parser.add_argument("--eps", help="radius; default: one at which a standard model keeps most samples")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser.parse_args()


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    choice = ModelChoice(
        task=options.task,
        variant=options.variant,
        size=options.size,
        scale=options.scale,
        samples=options.samples,
        side=None,
        epochs=None,
        data_dir=options.data_dir,
        batch=options.batch,
    )
    for recipe in options.recipe or list(DEFAULT):
        attacked = prepare(choice, recipe)
        total = min(options.samples, len(find_task(options.task).load(options.data_dir).test))
        eps = parse_exact(options.eps or RADII.get(options.task, DEFAULT)[recipe])
        model = f"{options.variant} {options.size}, {recipe}, {options.task}"
        print(f"\n## {model}: {options.norm} {eps}, n = {total}, correct when clean {len(attacked.ids)}")
        measure(attacked, total=total, norm=options.norm, eps=eps)


if __name__ == "__main__":
    main()
