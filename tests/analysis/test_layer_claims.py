"""Claims about layers: against paired t tests of the values of single samples, and by their error rates."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import ttest_1samp

from robustbench_wb.analysis.claims.claims_result import ALPHA, CheckedClaim
from robustbench_wb.analysis.claims.decide_claims import decide_claims
from robustbench_wb.analysis.claims.layer_tests import every_layer, layer_change, layer_values
from robustbench_wb.analysis.claims.row_selection import select_rows
from robustbench_wb.analysis.claims.sentence import ClaimsFile, parse_sentence
from robustbench_wb.errors import UsageError
from robustbench_wb.layers.drift import drift
from robustbench_wb.layers.table import LayerTable
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.report.claims import evidence_text
from robustbench_wb.spec import canonical_json
from tests.store.make import record, row

Values = NDArray[np.float64]
"""Values of a measure, (layers, samples)."""


def rows(
    *seeds: Values, measure: str = "sparsity", stressor: str = "clean", clean: list[Values] | None = None
) -> list[ScoreRow]:
    """One row per seed of a model whose layers have these values, and for clean inputs those of ``clean``."""
    found = []
    for seed, values in enumerate(seeds):
        table = LayerTable(np.arange(values.shape[1], dtype=np.int64), {measure: values})
        moved = {} if clean is None else drift(LayerTable(table.ids, {measure: clean[seed]}), table)
        drifts = {name: one.plain() for name, one in moved.items()}
        layers = canonical_json({"n": values.shape[1], "measures": table.plain(), "drift": drifts})
        made = row(record(signature=stressor, ladder=(), seed=seed), stressor=stressor, strength="", seed=seed)
        found.append(made.model_copy(update={"layers": layers}))
    return found


def samples(generator: np.random.Generator, means: list[float], n: int = 200, spread: float = 0.1) -> Values:
    """Values of independent samples around the mean of each layer."""
    return np.array(means)[:, None] + generator.normal(0, spread, (len(means), n))


def checked(sentence: str, own: list[ScoreRow]) -> CheckedClaim:
    """A sentence, decided alone."""
    file = ClaimsFile(file="claims.toml", claims=(parse_sentence(sentence),))
    (found,) = decide_claims(select_rows(file, {None: own}), {}).claims
    return found


@pytest.mark.parametrize("shared", [0.0, 0.3], ids=["independent", "alike"])
def test_one_checkpoint_is_at_least_as_uncertain_as_the_paired_test_of_its_samples(shared: float) -> None:
    """Rows do not say how two layers vary together; only layers that vary in opposite directions are as uncertain."""
    generator = np.random.default_rng(0)
    common = shared * generator.normal(size=150)
    values = samples(generator, [0.50, 0.47, 0.46], n=150) + common
    found = layer_change(rows(values), "sparsity", limit=0, alpha=ALPHA)
    paired = ttest_1samp(values[-1] - values[0], 0)
    assert found is not None
    assert found.worst == pytest.approx((values[-1] - values[0]).mean())
    assert found.p.below >= ttest_1samp(values[-1] - values[0], 0, alternative="less").pvalue
    low, high = paired.confidence_interval(0.95)
    assert found.wide.low < low < high < found.wide.high
    opposite = np.stack([values[0], values[1], 2 * values[0].mean() - values[0]])
    tight = layer_change(rows(opposite), "sparsity", limit=0, alpha=ALPHA)
    assert tight is not None
    assert tight.wide == pytest.approx(ttest_1samp(opposite[-1] - opposite[0], 0).confidence_interval(0.95))


def test_a_layer_of_one_checkpoint_is_tested_by_the_t_test_of_its_samples() -> None:
    values = samples(np.random.default_rng(1), [0.2, 1.0, 0.6], n=90, spread=0.8)
    found = layer_values(rows(values, measure="snr_gain"), "snr_gain", limit=0.1, alpha=ALPHA)
    assert found is not None
    for own, one in zip(values, found, strict=True):
        assert one.p.above == pytest.approx(ttest_1samp(own, 0.1, alternative="greater").pvalue)
        assert one.p.below == pytest.approx(ttest_1samp(own, 0.1, alternative="less").pvalue)
        assert one.wide == pytest.approx(ttest_1samp(own, 0).confidence_interval(0.95))
        assert one.narrow == pytest.approx(ttest_1samp(own, 0).confidence_interval(0.90))
    above, below = every_layer(found, above=True), every_layer(found, above=False)
    assert (above.layer, below.layer) == (1, 2)
    assert above.p == (max(one.p.above for one in found), min(1, 3 * min(one.p.below for one in found)))
    assert below.p == (min(1, 3 * min(one.p.above for one in found)), max(one.p.below for one in found))


def test_the_layer_that_is_shown_is_the_one_whose_test_decides() -> None:
    """The first layer is nearer to the limit, but certainly above it; the second one is not."""
    values = np.stack([np.tile([0.49, 0.51], 20), np.tile([-4.0, 6.0], 20)])
    told = checked("vit-nano has a sparsity above 0.4 in every layer at clean", rows(values))
    assert (told.verdict, told.evidence is not None and told.evidence.layer) == ("undecided", 2)
    test = ttest_1samp(values[1], 0.4, alternative="greater")
    assert told.evidence is not None
    assert told.evidence.p_holds == pytest.approx(test.pvalue)
    assert told.reach is not None
    assert told.reach > 1  # that of the first layer is 0.004


def test_without_noise_of_samples_seeds_are_tested_by_the_t_test() -> None:
    changes = [0.02, 0.03, 0.05, 0.01]
    alike = [np.repeat([[0.5], [0.5 + change]], 20, axis=1) for change in changes]
    found = layer_change(rows(*alike), "sparsity", limit=0, alpha=ALPHA)
    assert found is not None
    assert found.p.above == pytest.approx(ttest_1samp(changes, 0, alternative="greater").pvalue)
    assert found.wide == pytest.approx(ttest_1samp(changes, 0).confidence_interval(0.95))


@pytest.mark.slow(4)
@pytest.mark.parametrize("seeds", [1, 3, 5])
@pytest.mark.parametrize("of_seeds", [0.0, 0.02])
def test_a_change_that_is_not_there_is_seldom_found(seeds: int, of_seeds: float) -> None:
    """Samples have values of their own that all seeds see, and seeds differ: both are drawn anew in each of 2,000 runs.

    With one seed, the statement is about this checkpoint and not its architecture.
    """
    generator = np.random.default_rng(seeds)
    said = 0
    for _ in range(2000):
        common = generator.normal(0, 0.2, (2, 40))
        own = generator.normal(0, of_seeds if seeds > 1 else 0, seeds)
        every = [common + np.array([[0.0], [one]]) + generator.normal(0, 0.1, (2, 40)) for one in own]
        found = layer_change(rows(*every), "sparsity", limit=0, alpha=ALPHA)
        assert found is not None
        said += found.p.above <= ALPHA
    assert said / 2000 <= ALPHA + 3 * (ALPHA * (1 - ALPHA) / 2000) ** 0.5


def test_verdicts_and_what_is_said_of_them() -> None:
    generator = np.random.default_rng(2)
    falling = rows(*(samples(generator, [0.5, 0.45, 0.3]) for _ in range(5)))
    holds = checked("vit-nano has a falling sparsity at clean", falling)
    assert (holds.verdict, holds.seeds) == ("holds", (0, 1, 2, 3, 4))
    assert evidence_text(holds).startswith("share of nonzero entries of the code, last layer minus first: -0.2")
    assert checked("vit-nano has a rising sparsity at clean", falling).verdict == "refuted"
    assert checked("vit-nano seed 3 has a falling sparsity at clean", falling).seeds == (3,)

    below = checked("vit-nano has a sparsity below 0.47 in every layer at clean", falling)
    assert below.verdict == "refuted"
    assert evidence_text(below).startswith("share of nonzero entries of the code, layer 1: 0.49")
    assert checked("vit-nano has a sparsity above 0.2 in every layer at clean", falling).verdict == "holds"

    flat = checked(
        "vit-nano has a falling sparsity at clean",
        rows(samples(generator, [0.5, 0.5]), samples(generator, [0.5, 0.499])),
    )
    assert (flat.verdict, flat.adjusted_holds is not None, flat.reach is not None) == ("undecided", True, True)


def test_a_change_from_clean_inputs_is_tested_by_the_paired_t_test() -> None:
    generator = np.random.default_rng(4)
    clean = samples(generator, [0.5, 0.5], n=60)
    values = clean + samples(generator, [0.01, -0.2], n=60, spread=0.03)
    values[1, :50] = np.nan  # defined for ten samples alone
    own = rows(values, measure="cross_share", stressor="longer", clean=[clean])
    told = checked("vit-nano has a cross_share above its clean value in layer 1 at longer", own)
    paired = ttest_1samp(values[0] - clean[0], 0, alternative="greater")
    assert told.evidence is not None
    assert told.evidence.p_holds == pytest.approx(paired.pvalue)
    low, high = ttest_1samp(values[0] - clean[0], 0).confidence_interval(0.95)
    assert (told.evidence.low, told.evidence.high) == pytest.approx((low, high))
    assert (told.verdict, told.evidence.layer, told.evidence.n) == ("holds", 1, 60)
    assert ", layer 1, minus its clean value: +0.0" in evidence_text(told)
    both = checked("vit-nano has a cross_share above its clean value in every layer at longer", own)
    assert (both.verdict, both.evidence is not None and both.evidence.layer) == ("refuted", 2)
    test = ttest_1samp((values[1] - clean[1])[50:], 0, alternative="less")
    assert both.evidence is not None
    assert both.evidence.p_refuted == pytest.approx(2 * test.pvalue)  # of two layers


def test_a_single_layer_is_tested_alone() -> None:
    values = samples(np.random.default_rng(6), [0.5, 0.3, 0.5])
    assert checked("vit-nano has a sparsity above 0.4 in layer 3 at clean", rows(values)).verdict == "holds"
    assert checked("vit-nano has a sparsity above 0.4 in layer 2 at clean", rows(values)).verdict == "refuted"
    absent = np.stack([values[0], np.full(200, np.nan)])
    own = rows(absent, measure="cross_share")
    assert checked("vit-nano has a cross_share above 0.4 in layer 1 at clean", own).verdict == "holds"


def test_what_cannot_be_tested_is_incomplete_or_refused() -> None:
    values = samples(np.random.default_rng(3), [0.5, 0.4])
    plain = [one.model_copy(update={"layers": ""}) for one in rows(values)]
    told = checked("vit-nano has a falling sparsity at clean", plain)
    assert (told.verdict, told.reason) == (
        "incomplete", "the layers of its cells were not measured; run --layers measures those of variants",
    )  # fmt: skip
    absent = np.stack([values[0], np.full(200, np.nan)])
    told = checked("vit-nano has a falling entropy at clean", rows(absent, measure="entropy"))
    assert (told.verdict, told.reason) == ("incomplete", "entropy has no value in some of its layers")
    failed = [plain[0].model_copy(update={"status": "error", "error": "out of memory"})]
    told = checked("vit-nano has a falling sparsity at clean", failed)
    assert (told.verdict, told.reason) == ("incomplete", "not all samples were judged")
    told = checked("vit-nano has a falling sparsity at clean", rows(values[:1]))
    assert (told.verdict, told.reason) == (
        "incomplete", "the model has one layer, and nothing rises or falls from it to itself",
    )  # fmt: skip
    assert checked("vit-nano has a sparsity above 0.4 in every layer at clean", rows(values[:1])).verdict == "holds"
    told = checked("vit-nano has a sparsity above 0.4 in layer 3 at clean", rows(values))
    assert (told.verdict, told.reason) == ("incomplete", "the model has no layer 3")
    told = checked("vit-nano has a sparsity above its clean value in layer 1 at clean", rows(values))
    assert (told.verdict, told.reason) == (
        "incomplete", "clean inputs are not compared with themselves; name a cell with perturbed inputs",
    )  # fmt: skip
    told = checked("vit-nano has a cross_share above 0.4 in layer 1 at clean", rows(values))
    assert (told.verdict, told.reason) == (
        "incomplete", "cross_share was not measured yet when its layers were; measure them again",
    )  # fmt: skip
    both = [*rows(values), *rows(values, stressor="blur")]
    with pytest.raises(UsageError, match="layers are compared in one cell; name one of blur, clean"):
        checked("vit-nano has a falling sparsity at all cells", both)
    with pytest.raises(UsageError, match="cannot read"):
        parse_sentence("vit-nano has a falling darkness at clean")
    with pytest.raises(UsageError, match="cannot read"):
        parse_sentence("vit-nano has a sparsity above 0.4 in layer 0 at clean")
    with pytest.raises(UsageError, match="its number is too large"):
        parse_sentence(f"vit-nano has a sparsity below {'9' * 400} in every layer at clean")
