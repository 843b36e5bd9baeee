"""Model file of RobustBench: ``model_info/<dataset>/<threat model>/<name>.json``.

Numbers are text in percent, as in the files of RobustBench. Its leaderboard ranks by ``autoattack_acc``, which is set
only if AutoAttack was run at the radius; ``reported`` is our robust accuracy.
"""

import json
from dataclasses import dataclass

from robustbench_wb.analysis.headline.headline import HeadlineColumn, HeadlineNumber
from robustbench_wb.errors import UsageError
from robustbench_wb.registry import suggest_names
from robustbench_wb.report.exports.exported_model import ExportedModel, ExportedPanel, percent
from robustbench_wb.report.headline_text import number_text

_THREATS = ("Linf", "L2")


@dataclass(frozen=True, kw_only=True)
class PaperFacts:
    """What RobustBench asks about the paper of a model."""

    title: str = ""
    authors: str = ""
    link: str = ""
    venue: str = ""
    additional_data: bool = False
    """Whether the model was trained on data other than those of the benchmark."""


def robustbench_json(model: ExportedModel, facts: PaperFacts, column: str | None = None) -> str:
    """Model file of RobustBench.

    Args:
        model: the model.
        facts: facts about its paper.
        column: headline number, like ``Linf 8/255``; None is the one that ranks.

    Raises:
        UsageError: the model has no such number, or RobustBench has no such threat model.
    """
    own, chosen, number = _choose(model, column)
    clean = next((one.value for found, one in own.numbers if found.rule == "clean"), None)
    threat, _, strength = chosen.name.partition(" ")
    content: dict[str, object] = {
        "link": facts.link,
        "name": facts.title or model.name,
        "authors": facts.authors,
        "additional_data": facts.additional_data,
        "number_forward_passes": 1,
        "dataset": own.panel.task,
        "venue": facts.venue,
        "architecture": model.name,
        "eps": strength if threat in _THREATS else None,
        **({} if clean is None else {"clean_acc": _text(clean)}),
        "reported": _text(number.value or 0.0),
        **(_attacked(own, threat, strength) if threat in _THREATS else _corrupted(own, number)),
        "footnote": _footnote(model, own, chosen, number=number),
        "unreliable": number.grade in ("C", "F"),
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _choose(model: ExportedModel, column: str | None) -> tuple[ExportedPanel, HeadlineColumn, HeadlineNumber]:
    found = {
        chosen.name: (own, chosen, number)
        for own in model.panels
        for chosen, number in own.numbers
        if own.panel.metric == "accuracy" and (chosen.name.split(" ")[0] in _THREATS or _is_corruption(own, chosen))
    }
    if not found:
        raise UsageError(
            f"{model.name} has no robust accuracy in Linf or L2 and no corruption suite, which RobustBench has"
        )
    mains = [own.panel.main_column.name for own in model.panels]
    wanted = column or next((name for name in mains if name in found), next(iter(found)))
    if wanted not in found:
        raise UsageError(f"column {wanted!r} is unknown; {suggest_names(wanted, list(found))}", "column")
    return found[wanted]


def _is_corruption(own: ExportedPanel, column: HeadlineColumn) -> bool:
    return own.panel.suite.startswith("corruption") and column.rule == "mean" and column.name.endswith("mean")


def _text(share: float) -> str:
    return f"{percent(share):.2f}"


def _attacked(own: ExportedPanel, threat: str, strength: str) -> dict[str, object]:
    """Accuracy under AutoAttack alone, if it was run."""
    name = f"autoattack-{threat.lower()}"
    row = next((row for row in own.rows if row.stressor == name and row.strength == strength), None)
    return {"autoattack_acc": _text(row.accuracy)} if row is not None and row.accuracy is not None else {}


def _corrupted(own: ExportedPanel, number: HeadlineNumber) -> dict[str, object]:
    mce = {} if own.row.mce is None else {"corruptions_mce": f"{own.row.mce:.2f}"}
    return {"corruptions_acc": _text(number.value or 0.0), **mce}


def _footnote(model: ExportedModel, own: ExportedPanel, column: HeadlineColumn, *, number: HeadlineNumber) -> str:
    attacks = ", ".join(column.cells)
    return (
        f"{column.name}: {number_text(number, own.panel.metric)} % [95 % interval], over {attacks}; n = {own.panel.n}, "
        f"seed {own.row.seed}, suite {own.panel.suite} v{own.panel.suite_version}, {own.panel.scale} scale, "
        f"table {model.table} of robustbench_wb."
    )
