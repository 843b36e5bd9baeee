"""Headline numbers: the joint accuracy, its interval and grade, the ranking, and the columns of every suite."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from robustbench_wb.analysis.headline.headline import HeadlineNumber, HeadlinePanel
from robustbench_wb.analysis.headline.make_headline import make_headline, records_for_headline
from robustbench_wb.records.credibility import CredibilityCheck, Grade
from robustbench_wb.records.record import Record, State
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.spec import canonical_json
from robustbench_wb.stats.intervals import wilson
from robustbench_wb.stats.paired import tango_interval
from robustbench_wb.store.loaded_table import load_table
from robustbench_wb.stressors.names import STRESSORS
from robustbench_wb.stressors.threat_models import ThreatModel, strength_name, threat_model
from robustbench_wb.suites.suite import SUITES, find_suite
from tests.known import known
from tests.store.make import record, row, scored, text_row

PUBLISHED = Path(__file__).parents[2] / "results/published/adversarial-digits-smoke.parquet"
R, B, W, E, N = (int(state) for state in (State.ROBUST, State.BROKEN, State.WRONG, State.ERRORED, State.NOT_RUN))
Table = tuple[list[ScoreRow], dict[str, Record]]


def model(variant: str, **cells: tuple[Sequence[int], Grade | None]) -> Table:
    """Rows and records of a model; a cell is named like ``pgd_linf__8`` and has states and a grade."""
    rows, records = [], {}
    for name, (states, grade) in cells.items():
        stressor, _, eps = name.replace("_", "-").partition("--")
        strength = f"{eps}/255" if eps else ""
        made = record(states, signature=f"{stressor};eps={strength}" if eps else stressor, weights=variant)
        records[made.key] = made
        reason = f"reason of {stressor}"
        checks = [CredibilityCheck(name="x", grade=grade or "A", value=1, limit=0, samples=4, reason=reason)]
        shown = row(made, variant=variant, stressor=stressor, strength=strength)
        rows.append(shown.model_copy(update={"grade": grade or "", "checks": canonical_json(checks)}))
    return rows, records


def panel(*models: Table) -> HeadlinePanel:
    rows = [one for own, _ in models for one in own]
    (found,) = make_headline(rows, {key: made for _, own in models for key, made in own.items()}).panels
    return found


def joint(table: Table) -> HeadlineNumber:
    found = panel(table)
    return found.main_number(found.rows[0])


def test_the_published_table_by_hand() -> None:
    """Robust accuracy at Linf 16/255 of stored records, recounted sample by sample in plain Python."""
    table = load_table(str(PUBLISHED), "nowhere")
    (found,) = make_headline(table.rows, table.records).panels
    assert found.main_column.name == "Linf 16/255"
    by_hand = {}
    for variant in {one.variant for one in table.rows}:
        ball = [
            one
            for one in table.rows
            if one.variant == variant and one.strength == "16/255" and one.stressor.endswith("linf")
        ]
        assert {one.stressor for one in ball} == {"noise-linf", "fgsm-linf", "pgd-linf", "quick-linf"}
        outcomes: dict[int, list[int]] = {}
        for one in ball:
            made = table.records[one.key]
            for sample, state in zip(made.ids.tolist(), made.states.tolist(), strict=True):
                outcomes.setdefault(sample, []).append(state)
        assert len(outcomes) == 360
        by_hand[variant] = sum(states == [0, 0, 0, 0] for states in outcomes.values())
    assert {one.variant: known(found.main_number(one)).robust for one in found.rows} == by_hand
    best_first = sorted(by_hand, key=lambda variant: -by_hand[variant])
    assert [one.variant for one in found.rows] == best_first
    assert by_hand == {"bilateral-boosting": 297, "bilateral": 272, "boosting": 259, "vit": 223, "crate": 17}
    first = found.main_number(found.rows[0])
    assert first.value == 297 / 360
    assert (first.low, first.high) == tuple(wilson(297, 360))
    assert [one.name for one in found.columns if one.first] == ["clean", "Linf 8/255", "Linf 16/255", "L2 1/4"]
    assert [(one.rank, one.rank_low, one.rank_high, one.group) for one in found.rows] == [
        (1, 1, 1, "a"),
        (2, 2, 3, "b"),
        (3, 2, 3, "b"),
        (4, 4, 4, "c"),
        (5, 5, 5, "d"),
    ]
    assert {found.main_number(one).grade for one in found.rows} == {"A"}
    assert (found.evaluations, found.failed, found.doubtful) == (110, 0, 0)
    frame = make_headline(table.rows, table.records).to_pandas()
    assert list(frame[frame.main].value) == [by_hand[variant] / 360 for variant in best_first]


def test_only_samples_correct_under_every_attack_are_robust() -> None:
    """Attacks break different samples, a control breaks one more, and an errored or missing sample is not robust."""
    number = joint(
        model(
            "vit",
            clean=([R, R, R, R, R, R, W, R], None),
            noise_linf__8=([R, B, R, R, R, R, W, R], "C"),
            pgd_linf__8=([R, R, B, R, E, R, W, R], "B"),
            apgd_linf__8=([R, R, R, B, R, N, W, R], "B"),
        )
    )
    assert (number.robust, number.value) == (2, 2 / 8)
    assert number.low == wilson(2, 8).low
    assert number.high == wilson(4, 8).high  # the errored sample and the one that was not run may be robust


@pytest.mark.parametrize(
    ("pgd", "square", "noise", "expected"),
    [
        ((2, "B"), (0, "C"), (0, "F"), ("B", "")),  # the best grade of the attacks; controls have no part
        ((2, "C"), (0, "F"), (0, "A"), ("C", "reason of pgd-linf")),
        ((10, "A"), (13, "B"), (0, "A"), ("B", "")),  # square alone breaks 3 samples more: above 1 %
        ((10, "A"), (20, "B"), (0, "A"), ("C", "other attacks break 10 of 100 samples that pgd-linf@8/255 does not")),
        ((10, "A"), (5, "B"), (20, "A"), ("C", "other attacks break 10 of 100 samples that pgd-linf@8/255 does not")),
        ((100, "C"), (0, "F"), (0, "F"), ("B", "")),  # an accuracy of 0 is proven by adversarial examples
        ((2, "F"), (0, "F"), (0, "A"), ("F", "reason of pgd-linf")),
        ((2, None), (0, None), (0, None), ("", "")),
    ],
)
def test_the_grade_follows_the_most_credible_attack(
    pgd: tuple[int, Grade | None],
    square: tuple[int, Grade | None],
    noise: tuple[int, Grade | None],
    expected: tuple[str, str],
) -> None:
    def cell(broken: int, grade: Grade | None) -> tuple[list[int], Grade | None]:
        return [B] * broken + [R] * (100 - broken), grade

    number = joint(model("vit", noise_linf__8=cell(*noise), pgd_linf__8=cell(*pgd), square_linf__8=cell(*square)))
    assert (number.grade, number.note) == expected


def test_a_failed_attack_leaves_no_robust_sample_and_f_is_ranked_last() -> None:
    good = model("good", clean=([R] * 4, None), pgd_linf__8=([R, R, B, B], "B"))
    blind = model("blind", clean=([R] * 4, None), pgd_linf__8=([R, R, R, R], "F"))
    rows, records = model("failing", clean=([R] * 4, None), pgd_linf__8=([R] * 4, "B"))
    lost = row(None, 4, "ValueError: no gradient", variant="failing", stressor="pgd-linf", strength="8/255")
    found = panel(good, blind, ([rows[0], lost], records))
    assert [(one.variant, one.rank) for one in found.rows] == [("good", 1), ("blind", 2), ("failing", 2)]
    numbers = [found.main_number(one) for one in found.rows]
    assert [(one.value, one.robust, one.grade) for one in numbers] == [(0.5, 2, "B"), (1.0, 4, "F"), (None, None, "")]
    assert numbers[2].note == "pgd-linf@8/255 failed: ValueError: no gradient"
    assert (found.failed, found.doubtful) == (1, 1)


def test_without_records_the_number_is_an_upper_bound() -> None:
    rows, _ = model("vit", clean=([R] * 4, None), pgd_linf__8=([R, R, R, B], "B"), apgd_linf__8=([R, R, B, R], "B"))
    number = joint((rows, {}))
    assert (number.value, number.low, number.robust) == (0.75, None, None)
    assert number.note == "3 of 3 records are not in the store"
    assert records_for_headline(rows) == {one.key for one in rows}


def test_a_few_corruptions_have_a_column_each() -> None:
    rows, records = [], {}
    for stressor, severity in (("fog", "3"), ("fog", "1"), ("snow", "3")):
        made = record([B, R, R, R], signature=f"{stressor};severity={severity}")
        records[made.key] = made
        rows.append(row(made, stressor=stressor, strength=severity, suite="adversarial-custom-1"))
    found = panel((rows, records))
    assert [one.name for one in found.columns] == ["mean", "fog 1", "fog 3", "snow 3"]
    assert all(one.first for one in found.columns)


def test_the_order_of_rows_changes_nothing() -> None:
    table = load_table(str(PUBLISHED), "nowhere")
    mixed = [table.rows[at] for at in np.random.default_rng(0).permutation(len(table.rows))]
    (found,) = make_headline(mixed, table.records).panels
    (expected,) = make_headline(table.rows, table.records).panels
    assert [one.rank_low for one in found.rows] == [one.rank_low for one in expected.rows]
    assert found.main_column.name == expected.main_column.name


def test_the_lead_of_the_best_model_has_a_paired_interval() -> None:
    best = model("vit", pgd_linf__8=([R] * 40 + [B] * 10, "A"))
    second = model("crate", pgd_linf__8=([B] * 9 + [R] * 33 + [B] * 8, "A"))
    lead, (low, high) = known(panel(second, best).lead), tango_interval([50], [2], [9])
    assert lead == pytest.approx((low[0], high[0]))
    assert lead.low < (40 - 33) / 50 < lead.high
    assert panel(best).lead is None
    assert make_headline([*best[0], *second[0]], {}).panels[0].lead is None
    words = [scored(losses, weights=str(losses[1])) for losses in ([1.0, 2.0, 1.5], [1.5, 2.6, 1.9])]
    texts = [text_row(one, variant=one.identity.weights) for one in words]
    ratio = known(panel((texts, {one.key: one for one in words})).lead)
    assert ratio.low < 1 - np.exp(-0.5) < ratio.high < 1


def test_means_of_corruptions_and_perplexities() -> None:
    rows, records = [], {}
    for at, (stressor, severity) in enumerate((s, v) for s in ("fog", "snow") for v in ("1", "2", "3")):
        made = record([B] * at + [R] * (10 - at), signature=f"{stressor};severity={severity}")
        records[made.key] = made
        rows.append(row(made, stressor=stressor, strength=severity, suite="corruption"))
    found = panel((rows, records))
    assert [one.name for one in found.columns] == ["mean", "severity 1", "severity 2", "severity 3"]
    assert [one.value for one in found.rows[0].numbers] == pytest.approx([0.75, 0.85, 0.75, 0.65])
    assert (found.main, found.rows[0].numbers[0].grade) == (0, "")
    words = [(scored([1.0, loss]), rate) for rate, loss in (("1/10", 2.0), ("1/4", 3.0))]
    kept = {one.key: one for one, _ in words}
    texts = [text_row(one, stressor="word-swap-lm", strength=rate) for one, rate in words]
    shown = panel((texts, kept))
    assert shown.metric == "perplexity"
    assert known(shown.rows[0].numbers[0].value) == pytest.approx(np.exp(1.75))


@pytest.mark.parametrize(
    ("suite", "task", "main", "first"),
    [
        ("adversarial", "digits", "Linf 16/255", ["clean", "Linf 8/255", "Linf 16/255", "L2 1/4"]),
        ("adversarial", "other", "Linf 8/255", ["clean", "Linf 4/255", "Linf 8/255", "L2 1/4"]),
        ("adversarial-as-published", "digits", "Linf 6/255", ["clean", "Linf 5/255", "Linf 6/255"]),
        (
            "adversarial-text",
            "sentences",
            "words 1/4",
            ["clean", "words 1/10", "words 1/4", "vectors Linf 1/2", "vectors L2 4", "tokens 2", "letters 1/10"],
        ),
        ("corruption", "digits-32", "mean", ["clean", "mean", "severity 1", "severity 3", "severity 5"]),
        ("corruption-text", "sentences", "mean", ["clean", "mean", "severity 1", "severity 3", "severity 5"]),
        ("contamination", "digits", "mean", ["clean", "mean", "rate 1/20", "rate 1/5", "rate 2/5"]),
        ("long-sequence", "listops-64", "length mean", ["clean", "length mean", "length 32", "length 128"]),
        ("clean", "digits", "clean", ["clean"]),
    ],
)
def test_the_columns_of_each_suite(suite: str, task: str, main: str, first: list[str]) -> None:
    """The cells are those of the suite's file; only the first columns are listed where there are more."""
    content, rows = find_suite(suite), []
    for line in content.stressors:
        if line.tasks and not any(task.startswith(name.removesuffix("*")) for name in line.tasks):
            continue
        for strength in content.strengths_for(line, task) or ("",):
            kind = STRESSORS.get(line.use.split(";")[0])
            signature = f"{line.use};{kind.axis}={strength}" if strength else line.use
            names = line.use if line.use.startswith(("listops", "planted")) else line.use.split(";")[0]
            made = record(signature=signature)
            rows.append(row(made, suite=suite, task=task, stressor=names, strength=strength))
    (found,) = make_headline(rows, {}).panels
    assert found.main_column.name == main
    assert [one.name for one in found.columns if one.first][: len(first)] == first


def test_threat_models_are_those_that_the_attacks_declare() -> None:
    for name in STRESSORS.names():
        kind, found = STRESSORS.get(name), threat_model(name)
        if kind.protocol == "sound":
            assert (found.kind if found else None) == kind.kind, name
        if kind.kind is not None:
            numbers = {kind.axis: "2", "source": "vit"} if name.startswith("transfer") else {kind.axis: "2"}
            numbers |= {"rate": "1/10"} if kind.axis == "rate" else {}
            numbers |= {"module": "stem"} if name.startswith("bpda") else {}
            built = kind.model_validate(numbers)
            assert known(found).name == built.threat[0]
            assert strength_name(built.signature, built.strength) == kind.axis
    assert threat_model("torchattacks:MIFGSM;eps=8/255") == ThreatModel("torchattacks:MIFGSM", "white-box")
    assert threat_model("no-such-stressor;eps=1") is None


def test_headlines_that_suites_declare_exist() -> None:
    declared = {name: SUITES.get(name).headline for name in SUITES.names() if SUITES.get(name).headline}
    assert declared == {
        "adversarial-text": "words",
        "long-sequence": "length",
        "needle": "length",
        "text-robustness": "words",
    }
