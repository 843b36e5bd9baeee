"""Checked claims as text: a verdict per sentence with its evidence."""

from collections import Counter
from collections.abc import Iterable
from math import exp
from typing import Final

from robustbench_wb.analysis.claims.claims_result import CheckedClaim, ClaimsResult, ClaimVerdict
from robustbench_wb.layers.table import MEASURES
from robustbench_wb.records.names import Metric
from robustbench_wb.report.comparison import change_text, fields_text, p_text, unit_text
from robustbench_wb.report.text_block import TextBlock, counted

_VERDICTS: Final[tuple[ClaimVerdict, ...]] = ("holds", "refuted", "undecided", "not comparable", "incomplete")
_DIGITS: Final = 12
"""Displayed characters of a record key; JSON has the full key."""
_CELLS: Final = 4
"""Displayed cells with their keys; JSON has all cells."""


def claims_blocks(result: ClaimsResult) -> list[TextBlock]:
    """Headline with counts, then each sentence with its evidence, then the legend."""
    blocks = [TextBlock(f"{one.verdict}: {one.sentence.text}", notes=tuple(_notes(one))) for one in result.claims]
    return [TextBlock(claims_headline(result)), *blocks, TextBlock(notes=_legend(result))]


def claims_headline(result: ClaimsResult) -> str:
    """Counts of the verdicts, like ``claims.toml on v3: 2 hold, 1 refuted (exit code 1)``."""
    counts = Counter[str](one.verdict for one in result.claims)
    told = ", ".join(f"{counts[name]} {'hold' if name == 'holds' else name}" for name in _VERDICTS if counts[name])
    code = f" (exit code {int(result.exit_code)})" if result.exit_code else ""
    return f"{result.file} on {result.version}: {told}{code}"


def evidence_text(checked: CheckedClaim) -> str:
    """Estimate, interval and p-value in one line; empty without evidence.

    Example: ``difference -0.2 [-1.0, 0.6] points, n 360, one-sided p 0.0123, Holm-adjusted 0.0246``."""
    evidence = checked.evidence
    if evidence is None:
        return ""
    ends = ["" if end is None else _value(checked, end) for end in (evidence.low, evidence.high)]
    estimate = _value(checked, evidence.worst)
    if evidence.worst != evidence.best:
        estimate += f" to {_value(checked, evidence.best)}"
    told = [f"{_what(checked)} {estimate} [{', '.join(ends)}]{_unit(checked)}", f"n {evidence.n}"]
    refuted = evidence.p_refuted < evidence.p_holds
    p, adjusted = (
        (evidence.p_refuted, checked.adjusted_refuted) if refuted else (evidence.p_holds, checked.adjusted_holds)
    )
    if adjusted is not None:
        told.append(f"one-sided p {'of the opposite ' if refuted else ''}{p_text(p)}, Holm-adjusted {p_text(adjusted)}")
    return ", ".join(told)


def _notes(checked: CheckedClaim) -> Iterable[str]:
    sentence = checked.sentence
    if sentence.source:
        yield "; ".join(text for text in (sentence.place, f"claimed by {sentence.source}") if text)
    if checked.reason or checked.differing:
        yield fields_text(checked.differing) or checked.reason
    if checked.evidence is not None:
        unit = unit_text("architecture" if len(checked.seeds) > 1 else "checkpoint", checked.seeds)
        yield f"{evidence_text(checked)}; {unit}"
    if checked.reach is not None:
        yield f"minimum detectable effect: {_distance(checked, checked.reach)}"
    yield from (f"caution: {caution}" for caution in checked.cautions)
    for cited in checked.cited[:_CELLS]:
        keys = " and ".join(key[:_DIGITS] for key in (cited.key, cited.than_key) if key)
        yield f"{cited.signature or cited.cell}: {keys or 'no record'}"
    if len(checked.cited) > _CELLS:
        yield f"and {counted(len(checked.cited) - _CELLS, 'more cell')}"


def _what(checked: CheckedClaim) -> str:
    sentence, evidence = checked.sentence, checked.evidence
    if sentence.measure and evidence is not None:
        which = "last layer minus first" if evidence.layer is None else f"layer {evidence.layer}"
        return f"{MEASURES[sentence.measure]}, {which}{', minus its clean value' if sentence.drift else ''}:"
    return "difference" if checked.sentence.than is not None else checked.metric


def _unit(checked: CheckedClaim) -> str:
    if checked.metric == "perplexity" or checked.sentence.measure:
        return ""
    return " points" if checked.sentence.than is not None else " %"


def _value(checked: CheckedClaim, value: float) -> str:
    if checked.sentence.measure:
        signed = value != 0 and (checked.sentence.drift or checked.sentence.relation in ("rising", "falling"))
        return f"{value:{'+' if signed else ''}.3g}"
    if checked.sentence.than is not None:
        return change_text(value, _metric(checked))
    return f"{100 * value:.1f}" if checked.metric == "accuracy" else f"{exp(min(value, 700.0)):.2f}"


def _metric(checked: CheckedClaim) -> Metric:
    """Metric of a sentence that is not about layers."""
    return "perplexity" if checked.metric == "perplexity" else "accuracy"


def _distance(checked: CheckedClaim, value: float) -> str:
    if checked.sentence.measure:
        return f"{value:.3g}"
    text = change_text(value, _metric(checked)).removeprefix("+")
    return text if checked.metric == "perplexity" else f"{text} points"


def _legend(result: ClaimsResult) -> tuple[str, ...]:
    alpha = f"{result.alpha:g}"
    return (
        f"holds: supported at alpha = {alpha}; refuted: rejected at alpha = {alpha}; one-sided tests, Holm-corrected "
        "over the file",
        "difference: first model minus second, paired by sample, in points of accuracy or percent of perplexity "
        "[two-sided 95 % interval]",
        "minimum detectable effect: distance from the limit that is detected with 80 % power, before the correction",
        "a result for one seed is about that checkpoint only",
    )
