"""A gate as annotations of GitHub Actions: lines that the runner shows beside the change."""

from robustbench_wb.analysis.gate.gate_result import GateResult
from robustbench_wb.report.gate import decision_names, decision_text
from robustbench_wb.report.text_block import printable


def annotations(gate: GateResult) -> list[str]:
    """``::error`` for everything that closes the gate; one ``::warning`` per subject for what is undecided."""
    lines = [
        _command("error", f"robustness: {judgement.outcome}", decision_text(judgement))
        for judgement in gate.judgements
        if gate.failing(judgement)
    ]
    undecided: dict[str, list[float]] = {}
    for judgement in gate.judgements:
        if judgement.outcome == "undecided" and not gate.strict:
            undecided.setdefault(decision_names(judgement)[0], []).append(judgement.smallest or 1.0)
    for subject, smallest in undecided.items():
        low, high = (f"{100 * value:.1f}" for value in (min(smallest), max(smallest)))
        reach = f"a drop of {low}" + (f" to {high}" if high != low else "")
        text = f"{subject}: {len(smallest)} undecided; {reach} would have been seen with 80 % power"
        lines.append(_command("warning", "robustness: undecided", text))
    return lines


def _command(kind: str, title: str, text: str) -> str:
    return f"::{kind} title={_escaped(title).replace(':', '%3A').replace(',', '%2C')}::{_escaped(printable(text))}"


def _escaped(text: str) -> str:
    """As the runner's own toolkit does."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
