"""Native PGD against torchattacks, foolbox and ART: same model, same samples, same settings, one run, as ratios.

    python benchmarks/attacks.py [--task fashion-mnist --data-dir DIR --scale small --samples 1000]
    python benchmarks/attacks.py --side 32 --size 96x4x4 --epochs 30

For a plainly and an adversarially trained model: one attack at radii where the model ends at a known accuracy, a curve
of 8 radii, and what the native engine costs beyond the passes through the model. The libraries take turns, so that a
drift of the machine's speed hits all of them; seconds are the smallest of the turns. A ratio above 1 means that the
native engine is faster. Robust accuracies are printed beside the times, the lowest and the highest of the turns, each
with its own random start: a faster attack that breaks less would be no gain.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from fractions import Fraction

import torch
from overhead import Recorder, profile, replay
from peers import ATTACKS, Attack, Setting, native
from subjects import Bench, Choice, prepare

GRID = [Fraction(level, 255) for level in (1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 128)]
"""Radii among which the interesting ones are looked for."""
RUNGS = 8
TARGETS = {"standard": (0.6, 0.0), "pgd-at": (0.6, 0.25, 0.0)}
"""At about which robust accuracies each model is attacked."""


@dataclass
class Turns:
    """What the turns of one attack took and left."""

    seconds: list[float] = field(default_factory=list)
    robust: list[list[float]] = field(default_factory=list)
    """Per turn, at each radius."""

    def span(self, rung: int) -> str:
        """The lowest and the highest accuracy at a radius."""
        shares = [turn[rung] for turn in self.robust]
        return f"{min(shares):.3f}-{max(shares):.3f}"


def take_turns(attacks: dict[str, Attack], bench: Bench, settings: Sequence[Setting], repeats: int) -> dict[str, Turns]:
    """Run every attack ``repeats`` times, each turn from another random start."""
    turns = {name: Turns() for name in attacks}
    for seed in range(repeats):
        for name, attack in attacks.items():
            started = time.perf_counter()
            found = attack(settings, seed)
            turns[name].seconds.append(time.perf_counter() - started)
            turns[name].robust.append([bench.robust(images) for images in found])
    return turns


def show(title: str, turns: dict[str, Turns]) -> None:
    """One line per attack; accuracies are in the order of the radii."""
    print(f"\n{title}\n\n| attack | seconds | ratio | robust |\n|---|---|---|---|")
    base = min(turns["native"].seconds)
    for name, of in turns.items():
        robust = " ".join(of.span(rung) for rung in range(len(of.robust[0])))
        print(f"| {name} | {min(of.seconds):.2f} | {min(of.seconds) / base:.2f} | {robust} |", flush=True)


def levels(eps: Fraction) -> str:
    """A radius in levels of 8-bit pixels."""
    return f"{float(eps * 255):g}/255"


def landmarks(attack: Attack, bench: Bench, setting: Callable[[Fraction], Setting]) -> dict[Fraction, float]:
    """The robust accuracy at every radius of the grid."""
    settings = [setting(eps) for eps in GRID]
    return {one.eps: bench.robust(images) for one, images in zip(settings, attack(settings, 0), strict=True)}


def nearest(robust: dict[Fraction, float], target: float) -> Fraction:
    """The smallest radius whose accuracy is nearest to the target."""
    return min(robust, key=lambda eps: (abs(robust[eps] - target), eps))


def overhead(bench: Bench, settings: Sequence[Setting], repeats: int) -> None:
    """Seconds of the native attack over those of its passes, replayed on the bare model; and its gradients."""
    recorder = Recorder(bench.model)
    native(replace(bench, model=recorder))(settings, 0)
    whole, model = [], []
    for _ in range(repeats):
        started = time.perf_counter()
        native(bench)(settings, 0)
        between = time.perf_counter()
        replay(bench.model, recorder.calls)
        whole.append(between - started)
        model.append(time.perf_counter() - between)
    sizes = [len(images) for images, _ in recorder.calls]
    gradients = sum(len(images) for images, gradient in recorder.calls if gradient) / len(bench.ids)
    print(
        f"\nnative: {min(whole):.2f} s, its passes alone {min(model):.2f} s: overhead {min(whole) / min(model):.3f}; "
        f"{gradients:.1f} gradients a sample, a library {sum(setting.steps for setting in settings)}; "
        f"{len(sizes)} passes of {sum(sizes) / len(sizes):.0f} samples",
        flush=True,
    )


def measure(bench: Bench, targets: Sequence[float], options: argparse.Namespace) -> None:
    """All tables of one model."""
    attacks = {name: make(bench) for name, make in ATTACKS.items()}
    robust = landmarks(attacks["native"], bench, lambda eps: Setting(options.norm, eps, 40))
    for eps in sorted({nearest(robust, target) for target in targets}):
        setting = Setting(options.norm, eps, 40)
        show(f"PGD-40 {options.norm} {levels(eps)}", take_turns(attacks, bench, [setting], options.repeats))
        overhead(bench, [setting], options.repeats)
        if options.profile:
            profile(attacks["native"], [setting])
    end = nearest(robust, 0.0)
    ladder = [Setting(options.norm, end * rung / RUNGS, 20) for rung in range(1, RUNGS + 1)]
    title = f"Curve of PGD-20 {options.norm} at {', '.join(levels(setting.eps) for setting in ladder)}"
    show(title, take_turns(attacks, bench, ladder, options.repeats))
    overhead(bench, ladder, options.repeats)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="digits")
    parser.add_argument("--data-dir")
    parser.add_argument("--variant", default="vit")
    parser.add_argument("--size", default="nano", help="a size of the variant, or WIDTHxDEPTHxHEADS")
    parser.add_argument("--side", type=int, help="enlarge the images to this many pixels a side")
    parser.add_argument("--recipe", action="append", choices=list(TARGETS), help="may be repeated; default: both")
    parser.add_argument("--scale", default="smoke", choices=["smoke", "small", "full"], help="of the recipe")
    parser.add_argument("--epochs", type=int, help="of training, instead of the recipe's")
    parser.add_argument("--samples", type=int, help="of the test split; default: all")
    parser.add_argument("--norm", default="linf", choices=["linf", "l2"])
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--profile", action="store_true", help="print where the native attack spends its time")
    return parser.parse_args()


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    choice = Choice(**{part.name: getattr(options, part.name) for part in fields(Choice)})
    print(f"torch {torch.__version__}, {options.threads} threads, batch {options.batch}, {options.repeats} turns")
    for recipe in options.recipe or TARGETS:
        bench = prepare(choice, recipe)
        shape = "x".join(str(side) for side in bench.images.shape[1:])
        print(f"\n## {choice.variant} {choice.size}, {recipe}, on {choice.task}: {len(bench.ids)} samples of {shape}")
        measure(bench, TARGETS[recipe], options)


if __name__ == "__main__":
    main()
