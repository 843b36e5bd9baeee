"""One small run and its successor, with every kind of cell: sound, partly errored, failed, changed."""

from robustbench_wb.engine.record import Record
from robustbench_wb.stats.compare import Comparison, compare
from robustbench_wb.store.rows import ScoreRow
from tests.store.make import record, row, states

BROKEN = {"vit": (12, 60, 300), "crate": (20, 40, 120)}
STRENGTHS = ("2/255", "8/255")


def run(lost: int = 0, weights: str = "weights") -> tuple[list[ScoreRow], dict[str, Record]]:
    """The rows and records of a run; the successor has ``lost`` more broken samples under pgd at 8/255."""
    rows, records = [], {}
    for variant, (wrong, *broken) in BROKEN.items():
        cells = [("clean", "", 0), *(("pgd-linf", s, b) for s, b in zip(STRENGTHS, broken, strict=True))]
        for stressor, strength, count in cells:
            count += lost if strength == "8/255" else 0
            outcome = states(1000 - wrong - count, count, wrong)
            error = ""
            if (variant, strength) == ("vit", "2/255"):
                outcome[:12], error = [3] * 12, "ValueError: logits are not finite"
            signature = f"{stressor};eps={strength};{variant}"
            made = record(outcome, signature=signature, weights=weights if strength == "8/255" else variant)
            records[made.key] = made
            rows.append(row(made, error=error, variant=variant, stressor=stressor, strength=strength))
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
    return compare(old, new, {**old_records, **new_records})
