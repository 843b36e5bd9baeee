import io
import json
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console, RenderableType

from robustbench_wb.analysis.compare.compare_tables import compare_tables
from robustbench_wb.analysis.curves.attack_strength import AttackRuns, attack_strengths
from robustbench_wb.analysis.curves.corruption_errors import corruption_errors
from robustbench_wb.analysis.curves.strength_curves import strength_curves
from robustbench_wb.analysis.headline.make_headline import make_headline
from robustbench_wb.analysis.row_order import strength_sort_key
from robustbench_wb.report.comparison import comparison_blocks
from robustbench_wb.report.curves import curves_blocks, curves_json
from robustbench_wb.report.scores import leaderboard_blocks, score_blocks, score_text
from robustbench_wb.report.strength import strength_blocks
from robustbench_wb.report.text_block import counted, plain_table, plain_text, rich_group
from tests.known import known
from tests.report.curve_sample import alexnet_run, curve_run
from tests.report.sample import comparison, run, text_comparison, text_run
from tests.store.make import record, row, scored, states, text_row

GOLDEN = Path(__file__).parent / "golden"


def shown(renderable: RenderableType, width: int) -> str:
    target = io.StringIO()
    Console(file=target, width=width, color_system=None, legacy_windows=False).print(renderable)
    return "".join(line.rstrip() + "\n" for line in target.getvalue().splitlines())


def rendered(name: str) -> str:
    what, renderer, width = name.split("-")
    columns = None if width == "any" else int(width)
    if what == "scores":
        rows = run()[0]
        blocks = score_blocks(rows, 3, columns)
    elif what == "board":
        rows, records = [*run()[0], *text_run()[0]], {**run()[1], **text_run()[1]}
        blocks = leaderboard_blocks(rows, make_headline(rows, records), version=3, width=columns)
    elif what == "strength":
        rows, records = run()
        blocks = strength_blocks(attack_strengths(rows, records, lambda signature: AttackRuns(runs=2, steps=19)), 3)
    elif what == "curves":
        rows, records = curve_run()
        blocks = curves_blocks(strength_curves(rows, records), corruption_errors(rows, records, "vit"), 3)
    elif what == "mce":
        blocks = curves_blocks([], corruption_errors(alexnet_run(), {}, alexnet=True), 3)
    else:
        blocks = comparison_blocks(comparison() if what == "verdicts" else text_comparison(), columns)
    return plain_text(blocks) if renderer == "plain" else shown(rich_group(blocks), columns or 1000)


NAMES = [
    f"{what}-{how}-{width}"
    for what in ("scores", "verdicts", "board", "textverdicts")
    for how in ("plain", "rich")
    for width in (80, 100, "any")
] + ["strength-plain-any", "curves-plain-any", "mce-plain-any"]


@pytest.mark.parametrize("name", NAMES)
def test_golden(name: str) -> None:
    """To accept a change, delete the file under ``golden``, run once and read the new one."""
    file = GOLDEN / f"{name}.txt"
    if not file.exists():
        file.write_text(rendered(name), encoding="utf-8")
        pytest.fail(f"{file.name} was missing and has been written")
    assert rendered(name) == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [80, 100])
def test_tables_stay_within_the_width(width: int) -> None:
    rows = [*run()[0], *text_run()[0]]
    blocks = score_blocks(rows, 3, width), leaderboard_blocks(rows, make_headline(rows, {}), version=3, width=width)
    verdicts = comparison_blocks(comparison(), width), comparison_blocks(text_comparison(), width)
    for text in map(plain_text, (*blocks, *verdicts)):
        tables = [line for line in text.splitlines() if "  " in line]
        assert max(map(cell_len, tables)) <= width


def test_nothing_is_lost_by_splitting() -> None:
    rows = run()[0]
    cells = {f"{100 * known(r.accuracy):.1f}" for r in rows if r.status != "error"}
    for width in (20, 60, 80, 100, None):
        text = plain_text(score_blocks(rows, 3, width))
        assert all(cell in text for cell in cells)


def test_foreign_text_is_shown_literally_and_cannot_steer_the_terminal() -> None:
    for width in (100, 1000):
        text = shown(rich_group(score_blocks(run()[0], 3, width)), width)
        assert "[bold]no" in text
        assert "\x1b" not in text


def test_recipe_and_seed_are_named_where_they_vary() -> None:
    made = record(states(9, 1))
    text = plain_text(score_blocks([row(made, recipe="plain", seed=1), row(made, recipe="adversarial", seed=2)]))
    assert "vit-nano plain seed 1" in text
    assert "vit-nano adversarial seed 2" in text
    assert "seeds 1, 2; " in text


@pytest.mark.parametrize(
    ("losses", "samples", "text"),
    [
        ([3.0, 3.0], 2, "20.09 [20.09, 20.09]"),
        ([9.21, 9.21], 2, "9996.60 [9996.60, 9996.60]"),
        ([11.0], 1, "59874 [1.00, inf]"),
        ([18.0, 18.0], 2, "6.57e+07 [6.57e+07, 6.57e+07]"),
        ([1e5, 1e5], 2, "1.80e+308 [1.80e+308, 1.80e+308]"),
        ([3.0, 3.0, 3.0], 4, ">= 1.00* (1 not run)"),
        ([], 2, "error"),
    ],
)
def test_perplexities_large_and_unknown(losses: list[float], samples: int, text: str) -> None:
    assert score_text(text_row(scored(losses), samples)) == text


def test_a_change_of_perplexity_beyond_all_floats_still_prints() -> None:
    old, new = scored([1.0] * 9), scored([1e5] * 9, weights="broken")
    text = plain_text(comparison_blocks(compare_tables([text_row(old)], [text_row(new)], {old.key: old, new.key: new})))
    assert "worse    2.72 -> 1.80e+308  +1.0e+306%" in text
    assert "McNemar" not in text


def test_strengths_are_ordered_by_size() -> None:
    texts = ["high", "16/255", "2/255", "", "0.5", "1e-3", "low"]
    assert sorted(texts, key=strength_sort_key) == ["", "1e-3", "2/255", "16/255", "0.5", "high", "low"]


def test_nothing_to_show() -> None:
    assert plain_text(score_blocks([])) == ""
    assert plain_text([]) == ""


def test_plain_table_aligns_by_the_width_on_screen() -> None:
    text = plain_table(["name", "n"], [["日本", "1"], ["a\nb\tc", "100"]], ["left", "right"])
    assert text == "name     n\n日本     1\na b c  100"


def test_curves_as_json_hold_what_the_tables_show() -> None:
    rows, records = curve_run()
    found, errors = strength_curves(rows, records), corruption_errors(rows, records, "vit")
    content = json.loads(curves_json(found, errors, 3))
    assert content["version"] == 3
    first = content["curves"][0]
    assert (first["variant"], first["stressor"], first["area"]) == ("vit", "label-noise:pair", found[0].area)
    assert [(point["strength"], point["at"]) for point in first["points"]] == [("", 0), ("1/5", 0.2), ("2/5", 0.4)]
    assert content["corruption_errors"][1]["normalised"][0]["ce"]["fog"] == errors[1].normalised[0].ce["fog"]
    failed = next(one for one in content["curves"] if one["stressor"] == "duplicates")
    assert (failed["area"], failed["points"][1]["error"]) == (None, "SubjectError: too dirty")


@pytest.mark.parametrize(("count", "text"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (1200, "1200 rows")])
def test_counts_agree_with_their_noun(count: int, text: str) -> None:
    assert counted(count, "row") == text
