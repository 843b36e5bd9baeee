"""Credibility grades as a classifier: recall and false alarms on two labelled zoos of honest and fake models.

    python benchmarks/grades.py [--zoo held-out] [--only NAME] [--part 1/2]     measures; about a minute per model
    python benchmarks/grades.py --page                                          writes docs/credibility.md

Every model is trained here on the embedded digits, then measured by ``robustbench_wb.run`` with the attacks of the
suite ``adversarial`` in one Linf ball. Its grade is that of the headline number. C and F say fake, A and B honest.
Each measured model is appended to benchmarks/grades.csv, from which the page is written.
"""

import argparse
import csv
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import torch
from fakes import FAKES
from held_out import HELD_OUT_FAKES, HELD_OUT_HONEST
from torch import nn
from zoo import HONEST, Body

from robustbench_wb import run
from robustbench_wb.records.credibility import GRADES, read_checks
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.stats.intervals import wilson

ATTACKS: Final = ("noise-linf", "fgsm-linf", "pgd-linf;steps=20;step=1/8;restarts=1", "quick-linf")
RADIUS: Final = "16/255"
ZOOS: Final = {"first": (HONEST, FAKES), "held-out": (HELD_OUT_HONEST, HELD_OUT_FAKES)}
"""Honest and fake models of each zoo, by name."""
FIRST_FAKE: Final = ("thermometer, steep", "logits times 1000", "logits times 1000, CNN")
"""Honest models that were labelled fake before they were graded."""
FILE: Final = Path(__file__).parent / "grades.csv"
PAGE: Final = Path(__file__).parents[1] / "docs" / "credibility.md"
HEADING: Final = "### Measured grades"


class Graded(NamedTuple):
    """One model of a zoo."""

    zoo: str
    name: str
    fake: bool
    clean: float
    """Accuracy in percent."""
    robust: float
    """Joint accuracy under all attacks in percent."""
    grade: str
    check: str
    """Checks that decide the grade."""
    samples: int

    @property
    def alarm(self) -> bool:
        """Whether the grade says fake."""
        return self.grade in ("C", "F")


def measure(zoo: str, name: str, model: nn.Module, *, fake: bool, samples: int) -> Graded:
    """Measure and grade one model."""
    with tempfile.TemporaryDirectory() as folder:
        found = run(
            results=folder,
            variants={"model": model},
            tasks="digits",
            recipe="none",
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
        zoo=zoo,
        name=name,
        fake=fake,
        clean=round(100 * (found.rows[0].accuracy or 0.0), 1),
        robust=round(100 * (number.value or 0.0), 1),
        grade=number.grade,
        check=deciding(min(rows, key=lambda row: GRADES.index(row.grade or "F"))) if rows else number.note,
        samples=samples,
    )


def deciding(row: ScoreRow) -> str:
    """Checks of the worst grade of a row; empty for an A."""
    checks = read_checks(row.checks)
    return ", ".join(one.name for one in checks if one.grade == row.grade) if row.grade != "A" else ""


def models(zoo: str, only: str = "") -> Iterator[tuple[str, bool, Body]]:
    """Name, label and maker of the models of a zoo whose name contains a text."""
    for label, makers in enumerate(ZOOS[zoo]):
        yield from ((name, bool(label), make) for name, make in makers.items() if only in name)


def read_file() -> dict[tuple[str, str], Graded]:
    """Last measurement of each model, by zoo and name, with today's label."""
    with FILE.open(encoding="utf-8", newline="") as file:
        found = {(row["zoo"], row["name"]): row for row in csv.DictReader(file)}
    return {
        (zoo, name): Graded(
            zoo=zoo,
            name=name,
            fake=fake,
            clean=float(row["clean"]),
            robust=float(row["robust"]),
            grade=row["grade"],
            check=row["check"],
            samples=int(row["samples"]),
        )
        for zoo in ZOOS
        for name, fake, _ in models(zoo)
        if (row := found.get((zoo, name))) is not None
    }


def append(one: Graded) -> None:
    """Append a model to the file."""
    fresh = not FILE.exists()
    with FILE.open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([*([Graded._fields] if fresh else []), one])


def share(count: int, total: int) -> str:
    """A share with its 95 % Wilson interval."""
    low, high = wilson(count, total)
    return f"{count} of {total}, {count / max(total, 1):.2f} [{low:.2f}, {high:.2f}]"


def rates(found: Sequence[Graded], fake_names: Sequence[str] = ()) -> tuple[str, str]:
    """Recall and false alarms, if the named honest models counted as fake."""
    fakes = [one.alarm for one in found if one.fake or one.name in fake_names]
    honest = [one.alarm for one in found if not one.fake and one.name not in fake_names]
    return share(sum(fakes), len(fakes)), share(sum(honest), len(honest))


def measured_section() -> str:
    """Rates and tables of both zoos in Markdown."""
    every = list(read_file().values())
    lines = [HEADING, "", f"Shares with 95 % Wilson intervals, on {every[0].samples} samples of each model.", ""]
    lines += ["| models | recall: fakes with C or F | false alarms: honest models with C or F |", "|---|---|---|"]
    for title, zoo, names in (
        ("first zoo", "first", ()),
        ("first zoo, with its first labels", "first", FIRST_FAKE),
        ("held-out zoo", "held-out", ()),
    ):
        lines.append(f"| {' | '.join((title, *rates([one for one in every if one.zoo == zoo], names)))} |")
    for zoo in ZOOS:
        of_zoo = [one for one in every if one.zoo == zoo]
        for title, fake in (("fake defence", True), ("honest model", False)):
            lines += ["", f"| {title}, {zoo} zoo | clean | robust | grade | decided by |", "|---|---|---|---|---|"]
            shown = [(one.name, one.clean, one.robust, one.grade, one.check) for one in of_zoo if one.fake == fake]
            lines += [f"| {' | '.join(map(str, cells))} |" for cells in shown]
    wrong = [f"{one.name} ({one.grade})" for one in every if one.alarm != one.fake]
    missing = [name for zoo in ZOOS for name, *_ in models(zoo) if (zoo, name) not in read_file()]
    lines += ["", f"Wrong: {'; '.join(wrong) or 'none'}. Not measured: {'; '.join(missing) or 'none'}."]
    return "\n".join(lines) + "\n"


def write_page() -> None:
    """Replace the measured section of the page."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(f"{HEADING}\n")
    _, heading, after = rest.partition("\n## ")
    PAGE.write_text(before + measured_section() + heading + after, encoding="utf-8")


def main() -> None:
    """Read the options, and measure models or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=60)
    parser.add_argument("--zoo", choices=[*ZOOS], action="append", help="default: both")
    parser.add_argument("--only", default="", help="measure models whose name contains this")
    parser.add_argument("--part", default="1/1", help="1/3 measures every third model, from the first")
    parser.add_argument("--page", action="store_true", help="write the page from the file, and measure nothing")
    options = parser.parse_args()
    if options.page:
        write_page()
        return
    part, parts = map(int, options.part.split("/"))
    chosen = [(zoo, *model) for zoo in options.zoo or ZOOS for model in models(zoo, options.only)]
    for zoo, name, fake, make in chosen[part - 1 :: parts]:
        torch.manual_seed(0)
        one = measure(zoo, name, make(), fake=fake, samples=options.samples)
        append(one)
        print(*one, "" if one.alarm == fake else "<- wrong", sep=" | ", flush=True)


if __name__ == "__main__":
    main()
