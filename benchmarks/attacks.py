"""Native PGD against torchattacks and foolbox: same model, same samples, same settings, one run, as ratios.

    python benchmarks/attacks.py [--repeats 3] [--variant vit]

The libraries take turns, so that a drift of the machine's speed hits all of them. A ratio above 1 means that the native
engine is faster than that library. Robust accuracies are printed beside the times: a faster attack that breaks less
would be no gain. Steps are exact shares of epsilon, random start, cross-entropy, batch 256 everywhere.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor, nn

from robustbench_wb.engine.job import Prepared
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.progress import Silent
from robustbench_wb.stressors.catalogue import parse_stressor
from robustbench_wb.stressors.stressor import Job, predict

BATCH = 256


@dataclass(frozen=True)
class Setting:
    """One line of the table."""

    norm: str
    eps: Fraction
    steps: int


@dataclass(frozen=True)
class Bench:
    """A trained model and the samples that it classifies correctly."""

    model: nn.Module
    images: Tensor
    labels: Tensor
    ids: Tensor

    def native(self, setting: Setting) -> Tensor:
        attack = parse_stressor(f"pgd-{setting.norm};eps={setting.eps};steps={setting.steps};step=1/8")
        return attack.apply(Job(self.model, self.images, self.labels, self.ids, 0, BATCH)).inputs

    def torchattacks(self, setting: Setting) -> Tensor:
        name = {"linf": "PGD", "l2": "PGDL2"}[setting.norm]
        numbers = f"eps={setting.eps};alpha={setting.eps / 8};steps={setting.steps};random_start=true;batch={BATCH}"
        attack = parse_stressor(f"torchattacks:{name};{numbers}")
        return attack.apply(Job(self.model, self.images, self.labels, self.ids, 0, BATCH)).inputs

    def foolbox(self, setting: Setting) -> Tensor:
        import foolbox

        kind = {"linf": foolbox.attacks.LinfPGD, "l2": foolbox.attacks.L2PGD}[setting.norm]
        attack = kind(rel_stepsize=1 / 8, steps=setting.steps, random_start=True)
        model = foolbox.PyTorchModel(self.model, bounds=(0, 1), device="cpu")
        found = []
        for start in range(0, len(self.ids), BATCH):
            rows = slice(start, start + BATCH)
            found.append(attack(model, self.images[rows], self.labels[rows], epsilons=float(setting.eps))[1])
        return torch.cat(found)

    def robust(self, images: Tensor) -> float:
        return float((predict(self.model, images, BATCH).argmax(1) == self.labels).float().mean())


def prepare(variant: str) -> Bench:
    """Train (or find) a variant on digits by the smoke recipe and take its correctly classified test samples."""
    job = Prepared(RunRequest(variants=(variant,), device="cpu"), Silent())
    dataset = job.datasets[0]
    model = job.obtain(job.plan.tasks[0].subjects[0], dataset).model
    images = torch.tensor(dataset.test.inputs).float() / 255
    labels = torch.tensor(dataset.test.labels)
    right = torch.nonzero(predict(model, images, BATCH).argmax(1) == labels)[:, 0]
    return Bench(model, images[right], labels[right], right)


def measure(
    attacks: dict[str, Callable[[Setting], Tensor]], setting: Setting, repeats: int, bench: Bench
) -> dict[str, tuple[float, float]]:
    """Smallest seconds and robust accuracy of each attack; attacks take turns within a repeat."""
    seconds = dict.fromkeys(attacks, float("inf"))
    robust: dict[str, float] = {}
    for _ in range(repeats):
        for name, attack in attacks.items():
            started = time.perf_counter()
            images = attack(setting)
            seconds[name] = min(seconds[name], time.perf_counter() - started)
            robust[name] = bench.robust(images)
    return {name: (seconds[name], robust[name]) for name in attacks}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--variant", default="vit")
    options = parser.parse_args()
    bench = prepare(options.variant)
    attacks: dict[str, Callable[[Setting], Tensor]] = {
        "native": bench.native,
        "torchattacks": bench.torchattacks,
        "foolbox": bench.foolbox,
    }
    print(f"{options.variant}-nano on digits, {len(bench.ids)} correctly classified samples, {options.repeats} repeats")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; seconds are the smallest of the repeats")
    print("| setting | native s | robust | torchattacks s | robust | ratio | foolbox s | robust | ratio |")
    print("|---|---|---|---|---|---|---|---|---|")
    for norm, eps in (("linf", "8/255"), ("linf", "16/255"), ("linf", "48/255"), ("l2", "1/4"), ("l2", "1")):
        for steps in (20, 40):
            found = measure(attacks, Setting(norm, Fraction(eps), steps), options.repeats, bench)
            base = found["native"][0]
            cells = [f"{base:.2f}", f"{found['native'][1]:.3f}"]
            for name in ("torchattacks", "foolbox"):
                taken, robust = found[name]
                cells += [f"{taken:.2f}", f"{robust:.3f}", f"**{taken / base:.2f}**"]
            print(f"| PGD-{steps} {norm} {eps} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
