"""Strength of the native ensembles: what they leave, and what any attack of four libraries breaks of it.

    python benchmarks/strongest.py --norm l2 [--task fashion-mnist --data-dir DIR --scale small --samples 1000]
    python benchmarks/strongest.py --norm l2 --recorded        # the table of what is measured so far

Models of standard and of adversarial training are attacked in one ball by the native ensembles, the original
AutoAttack where it is installed (it is on no package index), and single attacks of this package, torchattacks, foolbox
and ART. Every attack gets all samples that are correct when clean.

`missed` counts samples that the attack of a row breaks and the native autoattack does not. `optimal` is the share of
the samples broken by any attack of the table that the attack of the row breaks (pointwise optimality), with its 95 %
Wilson interval. Seconds are processor time of one thread.

Attacks run on parts of the test set, and each result is a file in the folder of records. An interrupted run continues
where it stopped; the table has the parts that every attack has finished.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from contenders import Ball, Contender, contenders
from numpy.typing import NDArray
from subjects import AttackedModel, ModelChoice, prepare

from robustbench_wb.models.weights import weights_digest, weights_of
from robustbench_wb.spec import digest, parse_exact
from robustbench_wb.stats.intervals import wilson
from robustbench_wb.stressors.catalogue import parse_stressor
from robustbench_wb.tasks.catalogue import find_task

RADII: Final = {
    ("digits", "linf"): {"standard": "16/255", "pgd-at": "32/255"},
    ("digits", "l2"): {"standard": "1/4", "pgd-at": "1/2"},
    ("fashion-mnist", "linf"): {"standard": "8/255", "pgd-at": "32/255"},
    ("fashion-mnist", "l2"): {"standard": "1/2", "pgd-at": "1"},
}
"""Radius by task, norm and training recipe, where it is not the default one."""
DEFAULT: Final = {"linf": {"standard": "4/255", "pgd-at": "8/255"}, "l2": {"standard": "1/4", "pgd-at": "1/2"}}
"""Default radius by norm and training recipe."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Result of one attack on one part of the samples."""

    broken: NDArray[np.bool_]
    """Whether each sample is broken, bool (N,)."""
    seconds: float
    """Processor time."""


@dataclass(frozen=True, kw_only=True)
class Records:
    """Folder of results of attacks, one file for each attack and part of the samples."""

    folder: Path

    def find(self, attacked: AttackedModel, ball: Ball, contender: Contender) -> Measured | None:
        """Stored result of an attack on the samples; None if there is none."""
        path = self._path(attacked, ball, contender)
        if not path.is_file():
            return None
        stored = json.loads(path.read_text(encoding="utf-8"))
        return Measured(broken=np.isin(attacked.ids.numpy(), stored["broken"]), seconds=stored["seconds"])

    def measure(self, attacked: AttackedModel, ball: Ball, contender: Contender) -> Measured:
        """Attack the samples and store the result. Images outside the ball or [0, 1] are an error."""
        started = time.process_time()
        images = contender.perturb(attacked)
        seconds = time.process_time() - started
        parse_stressor(f"noise-{ball.norm};eps={ball.eps}").check(attacked.images, images)
        broken = ~attacked.is_correct(images).numpy()
        path = self._path(attacked, ball, contender)
        path.parent.mkdir(parents=True, exist_ok=True)
        stored = {"attack": contender.name, "broken": attacked.ids[broken].tolist(), "seconds": seconds}
        path.write_text(json.dumps(stored), encoding="utf-8")
        return Measured(broken=broken, seconds=seconds)

    def _path(self, attacked: AttackedModel, ball: Ball, contender: Contender) -> Path:
        weights = weights_digest(weights_of(attacked.model))
        key = [weights, attacked.ids.tolist(), ball.norm, str(ball.eps), contender.name, contender.version]
        return self.folder / f"{digest(key)}.json"


def parts(attacked: AttackedModel, *, samples: int, size: int) -> Iterator[AttackedModel]:
    """The model with the samples among each ``size`` successive rows of the test set, up to ``samples`` rows."""
    for first in range(0, samples, size):
        rows = (attacked.ids >= first) & (attacked.ids < min(first + size, samples))
        yield replace(attacked, images=attacked.images[rows], labels=attacked.labels[rows], ids=attacked.ids[rows])


def measure_parts(
    pieces: Sequence[AttackedModel], ball: Ball, records: Records, *, recorded: bool
) -> list[list[Measured]]:
    """Results of all contenders on each part; with ``recorded`` those of the leading parts that are complete."""
    found: list[list[Measured]] = []
    for piece in pieces:
        line: list[Measured] = []
        for contender in contenders(ball):
            result = records.find(piece, ball, contender)
            if result is None and recorded:
                return found
            line.append(result or records.measure(piece, ball, contender))
        found.append(line)
    return found


def print_table(names: Sequence[str], results: Sequence[Sequence[Measured]], *, total: int) -> None:
    """Print the table of one model. Robust accuracy is over all ``total`` samples, those wrong when clean included."""
    print("\n| attack | robust % | 95 % | missed | broken | optimal | seconds |\n|---|---|---|---|---|---|---|")
    joined = [np.concatenate([one.broken for one in column]) for column in zip(*results, strict=True)]
    union = np.logical_or.reduce(joined)
    for place, (name, broken) in enumerate(zip(names, joined, strict=True)):
        left, hit = len(broken) - int(broken.sum()), int(broken.sum())
        missed, anybody = int((broken & ~joined[0]).sum()), int(union.sum())
        around, share = wilson(left, total), wilson(hit, anybody)
        seconds = sum(line[place].seconds for line in results)
        print(
            f"| {name} | {100 * left / total:.1f} | [{100 * around.low:.1f}, {100 * around.high:.1f}] | {missed} |"
            f" {hit} of {anybody} | {hit / max(anybody, 1):.3f} [{share.low:.3f}, {share.high:.3f}] | {seconds:.0f} |",
            flush=True,
        )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="digits")
    parser.add_argument("--data-dir")
    parser.add_argument("--variant", default="vit")
    parser.add_argument("--size", default="nano")
    parser.add_argument(
        "--recipe", action="append", choices=["standard", "pgd-at"], help="may be repeated; default: both"
    )
    parser.add_argument("--scale", default="smoke", choices=["smoke", "small", "full"])
    parser.add_argument("--samples", type=int, default=1000, help="rows of the test set")
    parser.add_argument("--part", type=int, default=100, help="rows of the test set that are attacked at once")
    parser.add_argument("--norm", default="linf", choices=["linf", "l2"])
    parser.add_argument("--eps", help="radius; default: one at which the model keeps some of the samples")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--records", type=Path, default=Path("build/strongest"), help="folder of results")
    parser.add_argument("--recorded", action="store_true", help="measure nothing, print what the folder has")
    return parser.parse_args()


def main() -> None:
    """Read the options, measure what is missing, and print a table for each model."""
    options = parse()
    torch.set_num_threads(1)
    test = len(find_task(options.task).load(options.data_dir).test)
    samples = min(options.samples, test)
    choice = ModelChoice(
        task=options.task,
        variant=options.variant,
        size=options.size,
        scale=options.scale,
        samples=samples,
        side=None,
        epochs=None,
        data_dir=options.data_dir,
        batch=options.batch,
    )
    radii = RADII.get((options.task, options.norm), DEFAULT[options.norm])
    for recipe in options.recipe or list(radii):
        attacked = prepare(choice, recipe)
        ball = Ball(norm=options.norm, eps=parse_exact(options.eps or radii[recipe]))
        pieces = list(parts(attacked, samples=samples, size=options.part))
        results = measure_parts(pieces, ball, Records(folder=options.records), recorded=options.recorded)
        total = min(len(results) * options.part, samples)
        correct = sum(len(line[0].broken) for line in results)
        print(f"\n## {options.variant} {options.size}, {recipe}, {options.task}: {ball.norm} {ball.eps}, n = {total}")
        print(f"\n{correct} samples are correct when clean.")
        if results:
            print_table([contender.name for contender in contenders(ball)], results, total=total)


if __name__ == "__main__":
    main()
