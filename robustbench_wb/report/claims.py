"""A check of claims as text: a verdict per sentence, and what it rests on."""

from collections import Counter
from collections.abc import Iterable
from math import exp
from typing import Final

from robustbench_wb.analysis.claims.claims_result import CheckedClaim, ClaimsResult, ClaimVerdict
from robustbench_wb.report.comparison import change_text, fields_text, p_text
from robustbench_wb.report.text_block import TextBlock

_VERDICTS: Final[tuple[ClaimVerdict, ...]] = ("holds", "refuted", "undecided", "not comparable", "incomplete")
_DIGITS: Final = 12
"""Of a key that are shown; JSON has all."""
_CELLS: Final = 4
"""So many are shown with their keys; JSON has all."""


def claims_blocks(ledger: ClaimsResult) -> list[TextBlock]:
    """The verdicts in numbers; then each sentence with its evidence; then the rules."""
    blocks = [TextBlock(f"{one.verdict}: {one.sentence.text}", (), (), tuple(_notes(one))) for one in ledger.claims]
    return [TextBlock(claims_headline(ledger), (), ()), *blocks, TextBlock("", (), (), _legend(ledger))]


def claims_headline(ledger: ClaimsResult) -> str:
    """``claims.toml on v3: 2 hold, 1 refuted (exit code 1)``."""
    counts = Counter[str](one.verdict for one in ledger.claims)
    told = ", ".join(f"{counts[name]} {'hold' if name == 'holds' else name}" for name in _VERDICTS if counts[name])
    code = f" (exit code {int(ledger.exit_code)})" if ledger.exit_code else ""
    return f"{ledger.file} on {ledger.version}: {told}{code}"


def evidence_text(checked: CheckedClaim) -> str:
    """``difference -0.2 [-1.0, 0.6] points, n 360, p 0.0123, by Holm 0.0246``; empty without evidence."""
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
        told.append(f"p {'of the opposite ' if refuted else ''}{p_text(p)}, by Holm {p_text(adjusted)}")
    return ", ".join(told)


def _notes(checked: CheckedClaim) -> Iterable[str]:
    if checked.reason or checked.differing:
        yield fields_text(checked.differing) or checked.reason
    if checked.evidence is not None:
        several = len(checked.seeds) > 1
        seeds = ", ".join(map(str, checked.seeds))
        unit = (
            f"this architecture, {len(checked.seeds)} seeds ({seeds})" if several else f"this checkpoint (seed {seeds})"
        )
        yield f"{evidence_text(checked)}; {unit}"
    if checked.reach is not None:
        yield f"would be shown: a truth {_distance(checked, checked.reach)} from the limit"
    yield from (f"caution: {caution}" for caution in checked.cautions)
    for cited in checked.cited[:_CELLS]:
        keys = " and ".join(key[:_DIGITS] for key in (cited.key, cited.than_key) if key)
        yield f"{cited.signature or cited.cell}: {keys or 'no record'}"
    if len(checked.cited) > _CELLS:
        yield f"and {len(checked.cited) - _CELLS} more cells"


def _what(checked: CheckedClaim) -> str:
    return "difference" if checked.sentence.than is not None else checked.metric


def _unit(checked: CheckedClaim) -> str:
    if checked.metric == "perplexity":
        return ""
    return " points" if checked.sentence.than is not None else " %"


def _value(checked: CheckedClaim, value: float) -> str:
    if checked.sentence.than is not None:
        return change_text(value, checked.metric)
    return f"{100 * value:.1f}" if checked.metric == "accuracy" else f"{exp(min(value, 700.0)):.2f}"


def _distance(checked: CheckedClaim, value: float) -> str:
    text = change_text(value, checked.metric).removeprefix("+")
    return text if checked.metric == "perplexity" else f"{text} points"


def _legend(ledger: ClaimsResult) -> tuple[str, ...]:
    alpha = f"{ledger.alpha:g}"
    return (
        f"holds: its opposite is excluded, one-sided p at most {alpha}; refuted: it is itself; by Holm over the file",
        "difference: the subject less the other, by sample; points of accuracy, percent of perplexity; 95 % interval",
        "would be shown: at this distance from the limit, with 80 % power, before the correction",
        "one seed speaks for its checkpoint only",
    )
