"""Speed of native PGD against torchattacks, foolbox and ART: same model, same samples, same settings, one run.

    python benchmarks/attacks.py [--task fashion-mnist --data-dir DIR --scale small --samples 1000]
    python benchmarks/attacks.py --side 32 --size 96x4x4 --epochs 30

Models of standard and of adversarial training are attacked at single radii of a given robust accuracy, and along a
curve of 8 radii. The overhead of the native engine beyond its passes through the model is printed as well. The
libraries take turns, so that a drift of the machine's speed affects all of them; the shortest time counts. A ratio
above 1 means that the native engine is faster. The range of robust accuracies over the turns, each with another random
start, is printed beside the times: a faster attack that breaks fewer samples would be no gain.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

import torch
from overhead import QueryRecorder, profile, replay
from peers import ATTACKS, Attack, PgdSetting, native
from subjects import AttackedModel, ModelChoice, prepare

GRID = [Fraction(level, 255) for level in (1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 128)]
"""Radii among which those of the target accuracies are chosen."""
CURVE_POINTS = 8
"""Number of radii of a curve."""
TARGETS = {"standard": (0.6, 0.0), "pgd-at": (0.6, 0.25, 0.0)}
"""Robust accuracies at which a model of each training recipe is attacked, approximately."""


@dataclass
class AttackTimings:
    """Seconds and robust accuracies of all turns of one attack."""

    seconds: list[float] = field(default_factory=list)
    """Seconds of each turn."""
    robust: list[list[float]] = field(default_factory=list)
    """Robust accuracy of each turn at each radius."""

    def accuracy_range(self, radius: int) -> str:
        """Lowest and highest robust accuracy at the radius of a given index."""
        shares = [turn[radius] for turn in self.robust]
        return f"{min(shares):.3f}-{max(shares):.3f}"


def time_attacks(
    attacks: dict[str, Attack], attacked: AttackedModel, settings: Sequence[PgdSetting], *, repeats: int
) -> dict[str, AttackTimings]:
    """Run the attacks in turns, ``repeats`` times each, every time from another random start."""
    timings = {name: AttackTimings() for name in attacks}
    for seed in range(repeats):
        for name, attack in attacks.items():
            started = time.perf_counter()
            perturbed = attack(settings, seed)
            timings[name].seconds.append(time.perf_counter() - started)
            timings[name].robust.append([attacked.robust_accuracy(images) for images in perturbed])
    return timings


def print_timings(title: str, timings: dict[str, AttackTimings]) -> None:
    """Print one line per attack, with accuracies in the order of the radii."""
    print(f"\n{title}\n\n| attack | seconds | ratio | robust accuracy |\n|---|---|---|---|")
    base = min(timings["native"].seconds)
    for name, timing in timings.items():
        robust = " ".join(timing.accuracy_range(radius) for radius in range(len(timing.robust[0])))
        seconds = min(timing.seconds)
        print(f"| {name} | {seconds:.2f} | {seconds / base:.2f} | {robust} |", flush=True)


def pixel_levels(eps: Fraction) -> str:
    """A radius in levels of 8-bit pixels."""
    return f"{float(eps * 255):g}/255"


def grid_accuracies(
    attack: Attack, attacked: AttackedModel, setting: Callable[[Fraction], PgdSetting]
) -> dict[Fraction, float]:
    """Robust accuracy at every radius of :data:`GRID`."""
    settings = [setting(eps) for eps in GRID]
    perturbed = attack(settings, 0)
    return {one.eps: attacked.robust_accuracy(images) for one, images in zip(settings, perturbed, strict=True)}


def nearest_radius(robust: dict[Fraction, float], target: float) -> Fraction:
    """The smallest radius whose robust accuracy is nearest to the target."""
    return min(robust, key=lambda eps: (abs(robust[eps] - target), eps))


def print_overhead(attacked: AttackedModel, settings: Sequence[PgdSetting], *, repeats: int) -> None:
    """Print the seconds of the native attack over the seconds of its passes alone, and its number of gradients."""
    recorder = QueryRecorder(attacked.model)
    native(replace(attacked, model=recorder))(settings, 0)
    attack_seconds, model_seconds = [], []
    for _ in range(repeats):
        started = time.perf_counter()
        native(attacked)(settings, 0)
        between = time.perf_counter()
        replay(attacked.model, recorder.calls)
        attack_seconds.append(between - started)
        model_seconds.append(time.perf_counter() - between)
    whole, model = min(attack_seconds), min(model_seconds)
    sizes = [len(images) for images, _ in recorder.calls]
    gradients = sum(len(images) for images, gradient in recorder.calls if gradient) / len(attacked.ids)
    print(
        f"\nnative: {whole:.2f} s, its passes alone {model:.2f} s: overhead {whole / model:.3f}; "
        f"{gradients:.1f} gradients per sample, a library takes {sum(setting.steps for setting in settings)}; "
        f"{len(sizes)} passes of {sum(sizes) / len(sizes):.0f} samples on average",
        flush=True,
    )


def measure(attacked: AttackedModel, targets: Sequence[float], options: argparse.Namespace) -> None:
    """Print all tables of one model."""
    attacks = {name: make(attacked) for name, make in ATTACKS.items()}
    robust = grid_accuracies(attacks["native"], attacked, lambda eps: PgdSetting(norm=options.norm, eps=eps, steps=40))
    for eps in sorted({nearest_radius(robust, target) for target in targets}):
        settings = [PgdSetting(norm=options.norm, eps=eps, steps=40)]
        timings = time_attacks(attacks, attacked, settings, repeats=options.repeats)
        print_timings(f"PGD-40 {options.norm} {pixel_levels(eps)}", timings)
        print_overhead(attacked, settings, repeats=options.repeats)
        if options.profile:
            profile(attacks["native"], settings)
    end = nearest_radius(robust, 0.0)
    curve = [
        PgdSetting(norm=options.norm, eps=end * point / CURVE_POINTS, steps=20) for point in range(1, CURVE_POINTS + 1)
    ]
    title = f"Curve of PGD-20 {options.norm} at {', '.join(pixel_levels(setting.eps) for setting in curve)}"
    print_timings(title, time_attacks(attacks, attacked, curve, repeats=options.repeats))
    print_overhead(attacked, curve, repeats=options.repeats)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="digits")
    parser.add_argument("--data-dir")
    parser.add_argument("--variant", default="vit")
    parser.add_argument("--size", default="nano", help="size of the variant, or WIDTHxDEPTHxHEADS")
    parser.add_argument("--side", type=int, help="enlarge the images to this height and width in pixels")
    parser.add_argument("--recipe", action="append", choices=list(TARGETS), help="may be repeated; default: both")
    parser.add_argument("--scale", default="smoke", choices=["smoke", "small", "full"], help="scale of the recipe")
    parser.add_argument("--epochs", type=int, help="training epochs, instead of the recipe's")
    parser.add_argument("--samples", type=int, help="number of test samples; default: all")
    parser.add_argument("--norm", default="linf", choices=["linf", "l2"])
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--profile", action="store_true", help="print where the native attack spends its time")
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
        side=options.side,
        epochs=options.epochs,
        data_dir=options.data_dir,
        batch=options.batch,
    )
    print(f"torch {torch.__version__}, {options.threads} threads, batch {options.batch}, {options.repeats} turns")
    for recipe in options.recipe or TARGETS:
        attacked = prepare(choice, recipe)
        shape = "x".join(str(side) for side in attacked.images.shape[1:])
        samples = f"{len(attacked.ids)} samples of {shape}"
        print(f"\n## {choice.variant} {choice.size}, {recipe}, on {choice.task}: {samples}")
        measure(attacked, TARGETS[recipe], options)


if __name__ == "__main__":
    main()
