"""First screens of ``run``, ``show``, ``leaderboard``, ``diff`` and ``gate``: golden files, width and length."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.cells import cell_len

from robustbench_wb.analysis.compare.compare_tables import compare_tables
from robustbench_wb.analysis.compare.comparison import Comparison
from robustbench_wb.analysis.gate.decide_gate import decide_gate
from robustbench_wb.analysis.gate.gate_result import GateResult
from robustbench_wb.analysis.gate.margins import Margins
from robustbench_wb.analysis.headline.headline import Headline
from robustbench_wb.analysis.headline.make_headline import make_headline
from robustbench_wb.engine.credibility.grade import GradedCell, grade_cell
from robustbench_wb.records.record import Record
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.report.comparison_screen import comparison_screen
from robustbench_wb.report.gate import gate_blocks, gate_screen
from robustbench_wb.report.headline import first_screen, next_lines, saved_line
from robustbench_wb.report.text_block import LINE, TextBlock, plain_text
from robustbench_wb.spec import canonical_json
from robustbench_wb.store.loaded_table import load_table
from robustbench_wb.stressors.attacks.ensemble import QuickLinf
from robustbench_wb.stressors.attacks.pgd import PgdLinf
from tests.report.board_sample import board_run
from tests.report.sample import comparison, run, text_comparison, text_run
from tests.report.test_text import GOLDEN
from tests.store.make import record, row, states

PUBLISHED = Path(__file__).parents[2] / "results/published/adversarial-digits-smoke.parquet"


@cache
def published() -> Headline:
    table = load_table(str(PUBLISHED), "nowhere")
    return make_headline(table.rows, table.records)


def corruptions() -> Headline:
    """Two models under two corruptions, one of which failed at one severity, and a shortcut baseline."""
    rows, records = [], {}
    for model, variant in enumerate(("crate", "vit", "shortcut:majority")):
        for at, (stressor, severity) in enumerate(
            [("clean", ""), *((s, str(v)) for s in ("fog", "snow") for v in (1, 5))]
        ):
            failed = (variant, stressor, severity) == ("crate", "snow", "5")
            made = record(
                states(90 - 10 * at - 5 * model, 10 + 10 * at + 5 * model),
                signature=f"{stressor};severity={severity}",
                weights=variant,
            )
            names: dict[str, Any] = {
                "suite": "corruption",
                "stressor": stressor,
                "strength": severity,
                "variant": variant,
            }
            if variant.startswith("shortcut:") and stressor != "clean":
                continue
            records[made.key] = made
            rows.append(row(None, 100, "ValueError: no", **names) if failed else row(made, **names))
    return make_headline(rows, records)


def doubts() -> tuple[list[ScoreRow], dict[str, Record]]:
    """Rows with the checks that the engine makes: an ensemble that has not converged, and PGD far above it."""
    cells, rows, records = [], [], {}
    for stressor, broken in ((PgdLinf(eps="8/255"), 10), (QuickLinf(eps="8/255"), 280)):
        passes = np.where(np.arange(348) < 348 - broken, 100, 50).astype(np.int32)
        if broken == 280:
            passes[-8:] = 95  # of 100
        made = replace(record(states(348 - broken, broken), signature=stressor.signature), forwards=passes)
        records[made.key] = made
        cells.append(GradedCell(stressor, made))
    for cell in cells:
        found = grade_cell(cell, cells, {})
        shown = row(cell.record, stressor=cell.stressor.name, strength="8/255")
        rows.append(shown.model_copy(update={"grade": found.grade, "checks": canonical_json(found.checks)}))
    return rows, records


def undecided() -> Comparison:
    """One model that lost 6 of 50 samples and gained 2."""
    old = record([0] * 30 + [1] * 20)
    new = record([1] * 6 + [0] * 24 + [0] * 2 + [1] * 18, weights="retrained")
    return compare_tables([row(old)], [row(new)], {old.key: old, new.key: new})


def uncorrected() -> Comparison:
    """One model that lost 7 of 50 samples in each of four cells: p is 0.016 in each, and 0.063 after Holm."""
    old: list[ScoreRow] = []
    new: list[ScoreRow] = []
    records: dict[str, Record] = {}
    for strength in ("2/255", "4/255", "6/255", "8/255"):
        for table, lost in ((old, 0), (new, 7)):
            made = record([1] * lost + [0] * (50 - lost), signature=f"pgd-linf;eps={strength}", weights=str(lost))
            records[made.key] = made
            table.append(row(made, strength=strength))
    return compare_tables(old, new, records)


def unchanged() -> Comparison:
    rows, records = run()
    kept = [one for one in rows if one.status == "ok" and one.grade != "F"]
    return compare_tables(kept, kept, records)


def seeds(old: list[int], new: list[int]) -> str:
    """First screen of a comparison of two tables that have one model with these seeds."""
    made = {seed: record([0, 1], seed=seed, weights=str(seed)) for seed in (*old, *new)}
    before, after = ([row(made[seed], seed=seed) for seed in table] for table in (old, new))
    found = compare_tables(before, after, {one.key: one for one in made.values()})
    return plain_text(comparison_screen(found))


def test_a_comparison_says_which_seeds_the_tables_have() -> None:
    told = "seeds 0 in the old table and 0-1 in the new one, and only equal seeds are compared: vit"
    assert told in seeds([0], [0, 1])
    assert seeds([0], [0, 1]).splitlines()[:2] == [
        "nothing was compared, no common cell was measured anew",
        "the same in both tables: 1 record",
    ]
    assert "no significant change" not in seeds([0], [0, 1])
    assert "\n\n\n" not in seeds([0], [0, 1])
    other = seeds([0], [1])
    assert "nothing to compare, no cell is in both tables" in other
    assert "seeds 0 in the old table and 1 in the new one" in other
    assert "only equal seeds" not in seeds([0], [0])


def gate(lost: int, strict: bool = False) -> GateResult:
    old, old_records = run()
    new, new_records = run(lost, "retrained" if lost else "weights")
    if not lost:
        old = new = [one for one in new if one.status == "ok" and one.grade != "F"]
    return decide_gate(
        old=old,
        pinned=[],
        new=new,
        records={**old_records, **new_records},
        margins=Margins(),
        strict=strict,
        baseline="main.parquet",
        version="v3",
    )


SCREENS: dict[str, Callable[[], list[TextBlock]]] = {
    "first-run": lambda: first_screen(published()),
    "first-leaderboard": lambda: first_screen(published(), ranks=True),
    "first-board": lambda: first_screen(make_headline(*board_run()), ranks=True),
    "first-corruption": lambda: first_screen(corruptions()),
    "first-text": lambda: first_screen(make_headline(*text_run()), ranks=True),
    "first-doubts": lambda: first_screen(make_headline(*doubts())),
    "first-diff": lambda: comparison_screen(comparison(), LINE),
    "first-diff-text": lambda: comparison_screen(text_comparison(), LINE),
    "first-diff-undecided": lambda: comparison_screen(undecided(), LINE),
    "first-diff-uncorrected": lambda: comparison_screen(uncorrected(), LINE),
    "first-diff-unchanged": lambda: comparison_screen(unchanged(), LINE),
    "first-gate": lambda: gate_screen(gate(30), LINE),
    "first-gate-unchanged": lambda: gate_screen(gate(0), LINE),
    "full-gate": lambda: gate_blocks(gate(30)),
}


@pytest.mark.parametrize("name", SCREENS)
def test_golden(name: str) -> None:
    """To accept a change, delete the file under ``golden``, run once and read the new one."""
    file, text = GOLDEN / f"{name}.txt", plain_text(SCREENS[name]())
    if not file.exists():
        file.write_text(text, encoding="utf-8")
        pytest.fail(f"{file.name} was missing and has been written")
    assert text == file.read_text(encoding="utf-8")
    if name.startswith("first"):
        # Reasons that quote values or errors stay on one line, however long.
        assert max(map(cell_len, (line for line in text.splitlines() if "): " not in line))) <= LINE
        assert len(text.splitlines()) <= 24


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("first-leaderboard", "simultaneous 95 % rank intervals (Holm)"),
        ("first-leaderboard", "models sharing a letter do not differ significantly"),
        ("first-doubts", "not converged: 8 of 348 samples broke in the last 10 % of iterations"),
        ("board-plain-any", "apgd-linf leaves up to 11.4 points less; read this as an upper bound"),
        ("first-diff-undecided", "minimum detectable effect 15.7 points"),
        ("first-diff-uncorrected", "intervals that exclude 0: 4 undecided cells; only p is Holm-corrected"),
        ("first-diff-unchanged", "no change: 4 of 4 records identical"),
        ("first-diff", "two-sided 95 % interval"),
        ("first-diff", "two-sided p"),
        ("full-gate", "one-sided p"),
        ("full-gate", "two-sided 95 % interval"),
    ],
)
def test_sentences_in_the_words_of_the_field(name: str, sentence: str) -> None:
    assert sentence in (GOLDEN / f"{name}.txt").read_text(encoding="utf-8").replace("\n", " ")


@pytest.mark.parametrize(("page", "name"), [("README.md", "first-run"), ("docs/leaderboard.md", "first-leaderboard")])
def test_pages_show_the_published_table(page: str, name: str) -> None:
    """Terminal captures of the pages, at 80 columns, are golden files; the page of the leaderboard leaves out notes."""
    table, notes = (GOLDEN / f"{name}.txt").read_text(encoding="utf-8").rstrip().split("\n\n")
    text = (Path(__file__).parents[2] / page).read_text(encoding="utf-8")
    assert table in text
    assert notes in text or page != "README.md"


def test_twenty_models_and_long_names_fit_one_screen() -> None:
    rows, records = [], {}
    for at in range(20):
        variant = f"timm:vit_tiny_patch16_224.augreg_in21k_ft_in1k_{at:02}"
        for stressor, eps in (("clean", ""), ("pgd-linf", "2/255"), ("pgd-linf", "8/255"), ("pgd-l2", "1/2")):
            made = record(states(60 - at, 40 + at), signature=f"{stressor};eps={eps}", weights=variant)
            records[made.key] = made
            rows.append(row(made, variant=variant, size="", stressor=stressor, strength=eps))
    headline = make_headline(rows, records)
    lines = plain_text(first_screen(headline, ranks=True)).splitlines()
    assert len(lines) <= 30
    assert max(map(cell_len, lines)) <= LINE
    assert "timm:vit_tiny_patch16_22...n1k_00" in lines[2]
    assert len({line.split("...")[1].split()[0] for line in lines[2:22]}) == 20
    assert "Too wide for this screen: Linf 2/255, L2 1/2 (--full)." in lines
    wide = plain_text(first_screen(headline, ranks=True, width=None))
    assert "ft_in1k_19" in wide
    assert "Too wide" not in wide
    assert "Linf 2/255" in wide


def test_wide_names_and_many_seeds_fit_one_screen() -> None:
    rows = [row(record(states(60, 40)), variant="模型" * 30, seed=seed) for seed in range(40)]
    lines = plain_text(first_screen(make_headline(rows, {}))).splitlines()
    assert max(map(cell_len, lines)) <= LINE
    assert " · seeds 0-39 · " in lines[0]


def test_options_of_a_task_that_make_the_title_too_long_are_a_note() -> None:
    """A folder of pictures has the geometry of its pictures in its name."""
    rows = [row(record(states(60, 40)), task="photos;size=64;resize=71;interpolation=bicubic")]
    lines = plain_text(first_screen(make_headline(rows, {}))).splitlines()
    assert lines[0].startswith("Robust accuracy (%) on photos · n = 100 · seed 0 · ")
    assert "photos: size=64, resize=71, interpolation=bicubic." in lines
    whole, *rest = plain_text(first_screen(make_headline(rows, {}), width=120)).splitlines()
    assert "on photos;size=64;resize=71;interpolation=bicubic · n = 100" in whole
    assert not any("bicubic" in line for line in rest)


def test_what_a_run_stored_and_what_comes_next() -> None:
    assert saved_line(version=2, results="results", measured=110, reused=0, trained=5) == (
        "Saved v2 in results · 110 new evaluations, 0 reused · 5 models trained"
    )
    assert saved_line(version=1, results="r", measured=1, reused=9, trained=1) == (
        "Saved v1 in r · 1 new evaluation, 9 reused · 1 model trained"
    )
    assert next_lines(2, "results", program="rb").splitlines() == [
        "Next:", "  rb report --html report.html", "  rb diff v1 v2", "  rb leaderboard",
    ]  # fmt: skip
    assert next_lines(1, "my r", program="rb", over_seeds=True).splitlines()[2:] == [
        "  rb show v1 --full --results 'my r'", "  rb leaderboard --over-seeds --results 'my r'",
    ]  # fmt: skip
