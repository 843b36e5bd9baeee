from robustbench_wb.analysis.row_order import rank_rows
from robustbench_wb.records.score_row import ScoreRow
from tests.store.make import record, row, scored, states, text_row


def names(rows: list[ScoreRow]) -> list[str]:
    return [f"{entry.task} {entry.variant}" for entry in rows]


def test_accuracy_descends_perplexity_ascends_and_tables_stay_apart() -> None:
    rows = [
        row(record(states(5, 5)), variant="bert"),
        text_row(scored([4.0, 4.0]), variant="bert"),
        row(record(states(9, 1)), variant="vit"),
        text_row(scored([3.0, 3.0]), variant="gpt"),
        text_row(scored([3.5, 3.5]), variant="vit"),
    ]
    assert names(rank_rows(rows)) == ["digits vit", "digits bert", "text gpt", "text vit", "text bert"]


def test_scales_and_metrics_are_ranked_by_themselves() -> None:
    rows = [row(record(states(1, 9)), scale="smoke"), row(record(states(9, 1)), variant="crate")]
    assert rank_rows(rows) == rows
    rows = [row(None, 4, "x", task="text", variant="a"), text_row(scored([1.0]), suite="adversarial", variant="b")]
    assert rank_rows(rows) == rows


def test_protocols_are_ranked_by_themselves() -> None:
    rows = [row(record(states(1, 9))), row(record(states(9, 1)), variant="crate", protocol="as-published")]
    assert rank_rows(rows) == rows
    assert len({entry.panel for entry in rows}) == 2


def test_a_failed_cell_is_the_worst_and_models_of_fewer_cells_come_after() -> None:
    def cells(variant: str, *robust: int) -> list[ScoreRow]:
        made = [record(states(count, 10 - count), weights=f"{variant}{count}") for count in robust]
        return [row(one, variant=variant, strength=str(step)) for step, one in enumerate(made, 1)]

    failed = row(None, 10, "no", variant="failed", strength="2")
    rows = [*cells("alone", 10), *cells("failed", 10), failed, *cells("both", 6, 5), *cells("best", 2, 10)]
    found = rank_rows(rows)
    assert names(found) == [f"digits {name}" for name in ("best", "best", "both", "both", "failed", "failed", "alone")]
    assert [entry.strength for entry in found[:2]] == ["1", "2"]


def test_perplexities_are_averaged_as_logarithms() -> None:
    def cells(variant: str, *losses: float) -> list[ScoreRow]:
        return [
            text_row(scored([loss, loss]), variant=variant, stressor="swap", strength=str(step))
            for step, loss in enumerate(losses, 1)
        ]

    rows = [*cells("alone", 0.1), *cells("even", 3.0, 3.0), *cells("uneven", 0.5, 5.0)]
    assert [entry.variant for entry in rank_rows(rows)] == ["uneven", "uneven", "even", "even", "alone"]


def test_ties_keep_their_order_and_nothing_gets_lost() -> None:
    rows = [row(variant=name) for name in "cab"]
    assert rank_rows(rows) == rows
    assert rank_rows([]) == []


def test_a_cell_graded_f_counts_like_a_missing_one() -> None:
    masked = row(record(states(9, 1)), variant="masked").model_copy(update={"grade": "F"})
    doubtful = row(record(states(3, 7)), variant="doubtful").model_copy(update={"grade": "C"})
    clean = [row(record(states(10, 0)), variant=name, stressor="clean", strength="") for name in ("masked", "doubtful")]
    found = rank_rows([clean[0], masked, clean[1], doubtful])
    assert names(found) == ["digits doubtful"] * 2 + ["digits masked"] * 2
    assert masked in found
