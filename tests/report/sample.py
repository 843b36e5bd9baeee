"""Small run and its successor, with every kind of cell: complete, partly errored, failed, changed."""

from typing import Final

import numpy as np

from robustbench_wb.analysis.compare.compare_tables import compare_tables
from robustbench_wb.analysis.compare.comparison import Comparison
from robustbench_wb.records.credibility import CredibilityCheck, Grade
from robustbench_wb.records.record import Record
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.spec import canonical_json
from tests.store.make import record, row, scored, states, text_row

BROKEN = {"vit": (12, 60, 300), "crate": (20, 40, 120)}
STRENGTHS = ("2/255", "8/255")
GRADED: Final[dict[tuple[str, str], tuple[Grade, str, float, str]]] = {
    ("vit", "2/255"): ("C", "strongest", 0.062, "apgd-linf leaves 6.2 points less; read this as an upper bound"),
    ("vit", "8/255"): ("C", "strongest", 0.114, "apgd-linf leaves 11.4 points less; read this as an upper bound"),
    ("crate", "2/255"): ("B", "strongest", 1, "no ensemble was run in this ball"),
    ("crate", "8/255"): ("F", "gradient", 0.75, "no gradient of the margin at 48 of 64"),
}


def graded(made: ScoreRow, grade: Grade, name: str, value: float, reason: str) -> ScoreRow:
    """Row with two checks, the second of which decides the grade."""
    checks = (
        CredibilityCheck(name="logits", grade="A", value=0, limit=0, samples=64, reason="answers are logits"),
        CredibilityCheck(name=name, grade=grade, value=value, limit=0.01, samples=made.n, reason=reason),
    )
    return made.model_copy(update={"grade": grade, "checks": canonical_json(checks)})


def run(lost: int = 0, weights: str = "weights") -> tuple[list[ScoreRow], dict[str, Record]]:
    """Rows and records of a run; the successor has ``lost`` more broken samples under pgd at 8/255."""
    rows, records = [], {}
    for variant, (wrong, *broken) in BROKEN.items():
        cells = [("clean", "", 0), *(("pgd-linf", s, b) for s, b in zip(STRENGTHS, broken, strict=True))]
        for stressor, strength, count in cells:
            count += lost if strength == "8/255" else 0
            outcome = states(1000 - wrong - count, count, wrong)
            error = ""
            if (variant, strength) == ("vit", "2/255"):
                outcome[:12], error = [3] * 12, "ValueError: logits are not finite"
            kept = weights if strength == "8/255" else variant
            made = record(outcome, signature=f"{stressor};eps={strength}", weights=kept, model_code=variant)
            records[made.key] = made
            shown = row(made, error=error, variant=variant, stressor=stressor, strength=strength)
            rows.append(shown if stressor == "clean" else graded(shown, *GRADED[variant, strength]))
    for strength in ("1/2", "1"):
        failed = "SubjectError: [bold]no logits[/bold]\x1b[31m"
        rows.append(row(None, 1000, failed, variant="crate", stressor="pgd-l2", strength=strength))
    return rows, records


def comparison() -> Comparison:
    old, old_records = run()
    new, new_records = run(30, "retrained")
    other = record(states(900, 100), signature="pgd-linf;eps=2/255;steps=80", weights="w")
    new = [r for r in new if (r.variant, r.strength) != ("crate", "2/255")]
    new += [row(other, variant="crate", strength="2/255"), row(record(), variant="boosting")]
    return compare_tables(old, new, {**old_records, **new_records})


def text_run(drift: float = 0.0, weights: str = "weights") -> tuple[list[ScoreRow], dict[str, Record]]:
    """Language-modelling run with every kind of cell; the successor's losses under swap are ``drift`` higher."""
    rng = np.random.default_rng(0)
    rows, records = [], {}
    for level, variant in ((3.4, "gpt"), (3.1, "crate")):
        base = level + 0.3 * rng.standard_normal(200)
        for stressor, strength, more in (("clean", "", 0.0), ("swap", "0.025", 0.2), ("swap", "0.05", 8.0)):
            losses = base + more + 0.05 * rng.standard_normal(200)
            losses += drift * (stressor == "swap") * (1.0 + 0.5 * rng.standard_normal(200))
            error = ""
            if (variant, strength) == ("crate", "0.025"):
                losses[:3], error = np.nan, "ValueError: logits are not finite"
            kept = weights if stressor == "swap" else variant
            names = {"signature": f"{stressor};rate={strength}", "weights": kept, "model_code": variant}
            made = scored(losses.tolist(), **names)
            records[made.key] = made
            rows.append(text_row(made, error=error, variant=variant, stressor=stressor, strength=strength))
    one = scored([3.0 + drift], signature="one", weights=weights)
    records[one.key] = one
    rows.append(text_row(one, variant="gpt", stressor="length", strength="4096"))
    rows.append(text_row(None, 1, "SubjectError: no logits", variant="crate", stressor="length", strength="4096"))
    return rows, records


def text_comparison() -> Comparison:
    """Comparison of language-modelling cells and one classification cell."""
    old, old_records = text_run()
    new, new_records = text_run(0.04, "retrained")
    before, after = record(states(900, 100)), record(states(930, 70), weights="retrained")
    both = {**old_records, **new_records, before.key: before, after.key: after}
    return compare_tables([*old, row(before)], [*new, row(after)], both)
