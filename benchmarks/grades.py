"""Credibility grades as a classifier: recall and false alarms on a labelled zoo of honest and fake models.

    python benchmarks/grades.py [--samples 100] [--only NAME]        about 15 minutes on a CPU

Every model is trained here on the embedded digits, then measured by ``robustbench_wb.run`` with the attacks of the
suite ``adversarial`` in one Linf ball. Its grade is that of the headline number. C and F say fake, A and B honest.
"""

import argparse
import tempfile
from collections.abc import Iterator
from typing import Final, NamedTuple

import torch
from fakes import FAKES
from zoo import HONEST

from robustbench_wb import run
from robustbench_wb.records.credibility import GRADES, read_checks
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.stats.intervals import wilson

ATTACKS: Final = ("noise-linf", "fgsm-linf", "pgd-linf;steps=20;step=1/8;restarts=1", "quick-linf")
RADIUS: Final = "16/255"
LABELS: Final = ("honest", "fake")
VARIANTS: Final = ("vit", "crate", "bilateral", "boosting", "twicing")
"""Models of the package, after standard training."""


class Graded(NamedTuple):
    """One model of the zoo."""

    name: str
    fake: bool
    clean: float
    robust: float
    """Joint accuracy under all attacks."""
    grade: str
    check: str
    """Checks that decide the grade."""

    @property
    def is_right(self) -> bool:
        """Whether the grade says what the model is."""
        return (self.grade in ("C", "F")) == self.fake


def graded(name: str, *, fake: bool, samples: int, variants: object) -> Graded:
    """Measure and grade one model."""
    with tempfile.TemporaryDirectory() as folder:
        found = run(
            results=folder,
            variants=variants,  # type: ignore[arg-type]
            tasks="digits",
            recipe="standard" if isinstance(variants, str) else "none",
            samples=samples,
            stressors=ATTACKS,
            epsilons=RADIUS,
            device="cpu",
            executor="inline",
        )
    panel = found.headline.panels[0]
    number = panel.main_number(panel.rows[0])
    rows = [row for row in found.rows if row.grade and row.stressor in ("pgd-linf", "quick-linf")]
    return Graded(
        name=name,
        fake=fake,
        clean=found.rows[0].accuracy or 0.0,
        robust=number.value or 0.0,
        grade=number.grade,
        check=deciding(min(rows, key=lambda row: GRADES.index(row.grade or "F"))) if rows else number.note,
    )


def deciding(row: ScoreRow) -> str:
    """Checks of the worst grade of a row; empty for an A."""
    checks = read_checks(row.checks)
    return ", ".join(one.name for one in checks if one.grade == row.grade) if row.grade != "A" else ""


def zoo(samples: int, labels: tuple[str, ...], only: str) -> Iterator[Graded]:
    """Grade every model with one of the labels whose name contains a text."""
    for label, models in (("honest", HONEST), ("fake", FAKES)):
        for name, make in models.items():
            if label in labels and only in name:
                torch.manual_seed(0)
                yield graded(name, fake=label == "fake", samples=samples, variants={"model": make()})
    for name in VARIANTS:
        if "honest" in labels and only in name:
            yield graded(name, fake=False, samples=samples, variants=name)


def summary(name: str, count: int, total: int) -> str:
    """A share with its 95 % Wilson interval."""
    low, high = wilson(count, total)
    return f"{name} {count} of {total}: {count / max(total, 1):.3f} [{low:.3f}, {high:.3f}]"


def main() -> None:
    """Read the options and print the table and the rates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--only", default="", help="grade models whose name contains this")
    parser.add_argument("--label", choices=LABELS, help="grade models with this label")
    options = parser.parse_args()
    print("model                                label   clean  robust  grade  decided by", flush=True)
    found = []
    for one in zoo(options.samples, (options.label,) if options.label else LABELS, options.only):
        found.append(one)
        label, mark = "fake" if one.fake else "honest", "" if one.is_right else "  <- wrong"
        numbers = f"{100 * one.clean:5.1f}  {100 * one.robust:6.1f}"
        print(f"{one.name:36} {label:6}  {numbers}  {one.grade or '-':5}  {one.check}{mark}", flush=True)
    fakes, honest = ([one for one in found if one.fake == fake] for fake in (True, False))
    print(summary("recall", sum(one.is_right for one in fakes), len(fakes)))
    print(summary("false alarms", sum(not one.is_right for one in honest), len(honest)))


if __name__ == "__main__":
    main()
