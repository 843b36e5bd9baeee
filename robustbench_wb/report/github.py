"""Gate result as annotations of GitHub Actions, which the runner shows next to the change."""

from robustbench_wb.analysis.gate.gate_result import GateResult
from robustbench_wb.report.gate import decision_names, decision_text
from robustbench_wb.report.text_block import printable


def annotations(gate: GateResult) -> list[str]:
    """An ``::error`` line per failing decision, and a ``::warning`` line per model with undecided decisions."""
    lines = [
        _command("error", f"robustness: {decision.outcome}", decision_text(decision))
        for decision in gate.judgements
        if gate.failing(decision)
    ]
    undecided: dict[str, list[float]] = {}
    for decision in gate.judgements:
        if decision.outcome == "undecided" and not gate.strict:
            undecided.setdefault(decision_names(decision).model, []).append(decision.smallest or 1.0)
    for model, smallest in undecided.items():
        low, high = (f"{100 * value:.1f}" for value in (min(smallest), max(smallest)))
        drop = low + (f" to {high}" if high != low else "")
        text = f"{model}: {len(smallest)} undecided; minimum detectable drop {drop} at 80 % power"
        lines.append(_command("warning", "robustness: undecided", text))
    return lines


def _command(kind: str, title: str, text: str) -> str:
    return f"::{kind} title={_escaped(title).replace(':', '%3A').replace(',', '%2C')}::{_escaped(printable(text))}"


def _escaped(text: str) -> str:
    """Text escaped like the toolkit of GitHub Actions does it."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
