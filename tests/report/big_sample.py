"""Synthetic full table: twenty models under a hundred cells, with grades, checks, errors and missing samples."""

from robustbench_wb.records.credibility import CredibilityCheck
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.spec import canonical_json, digest
from tests.store.make import record, row, states

STRENGTHS = ("1/255", "2/255", "4/255", "8/255", "16/255", "32/255", "48/255", "64/255", "128/255")


def big_table(subjects: int = 20, ladders: int = 11) -> list[ScoreRow]:
    """Rows of each model: a clean cell and nine strengths for each of ``ladders`` attacks."""
    cells = [("clean", ""), *((f"attack-{at}", strength) for at in range(ladders) for strength in STRENGTHS)]
    return [
        _made(f"variant-{number}", *cell, number, at) for number in range(subjects) for at, cell in enumerate(cells)
    ]


def _made(variant: str, stressor: str, strength: str, number: int, at: int) -> ScoreRow:
    broken = 0 if not strength else (37 * number + 11 * at) % 900
    made = row(record(states(950 - broken, broken, 50)), variant=variant, stressor=stressor, strength=strength)
    names = {name: digest([variant, stressor, strength, name]) for name in ("key", "stressor_code")}
    shared = {name: digest([variant, name]) for name in ("weights", "model_code")}
    signature = f"{stressor};eps={strength};steps=100;restarts=5" if strength else "clean"
    checks = tuple(
        CredibilityCheck(
            name=name, grade=grade, value=0.05, limit=0.01, samples=1000, reason=f"{variant} {at} falls late"
        )
        for name, grade in (("gradient", "A"), ("converged", "C" if at % 3 else "B"))
    )
    doubt = {"grade": checks[1].grade, "checks": canonical_json(checks)} if strength else {}
    spent = {"forwards": 40.123456789 + at, "backwards": 39.1 + number, "seconds": 0.1 * at + number / 7}
    own = {"train_seconds": 20.5 + number, "parameters": 10_000 * (number + 1)}
    return made.model_copy(update={**names, **shared, "signature": signature, **doubt, **spent, **own})
