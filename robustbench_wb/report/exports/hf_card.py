"""Model card of Hugging Face: the section on robustness, and its numbers as ``model-index`` metadata."""

import re
from typing import TYPE_CHECKING, Final

from robustbench_wb.analysis.headline.headline import HeadlineColumn, HeadlineNumber
from robustbench_wb.errors import MeasurementError, UsageError, as_measurement_error
from robustbench_wb.report.exports.exported_model import ExportedModel, ExportedPanel, metric_name, percent
from robustbench_wb.report.headline_text import number_interval, value_text
from robustbench_wb.report.markdown import markdown_text
from robustbench_wb.report.text_block import Column, TextBlock, printable

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

_START: Final = "<!-- robustbench_wb: begin -->"
_END: Final = "<!-- robustbench_wb: end -->"
_OURS: Final = "robustbench_wb "
"""Beginning of the metric configuration of our results, by which a later export replaces them."""


def hf_card(model: ExportedModel, existing: str = "") -> str:
    """Model card (README.md) with the robustness of a model.

    The metadata has one ``EvalResult`` per headline number: accuracies in percent, with interval, grade and
    evaluations as arguments of the metric. The text has a section between two comments.

    Args:
        model: the model.
        existing: text of the present card, whose other metadata and text are kept; empty without one.

    Raises:
        UsageError: the metadata of the present card are not valid.
    """
    from huggingface_hub import ModelCard, ModelCardData

    try:
        with as_measurement_error("the metadata of the present card"):
            card = ModelCard(existing or f"---\n{{}}\n---\n\n# {model.name}\n")
    except MeasurementError as error:
        raise UsageError(str(error)) from error
    kept = [one for one in card.data.get("eval_results", []) if not str(one.metric_config).startswith(_OURS)]
    found = [_result(own, column, number) for own in model.panels for column, number in own.numbers]
    name = card.data.get("model_name", model.name)
    card.data = ModelCardData(**{**vars(card.data), "model_name": name, "eval_results": [*kept, *found]})
    card.text = _with_section(card.text, _section(model))
    return str(card).rstrip() + "\n"


def _result(own: ExportedPanel, column: HeadlineColumn, number: HeadlineNumber) -> "EvalResult":
    from huggingface_hub import EvalResult

    panel, accuracy = own.panel, own.panel.metric == "accuracy"
    ends = [None if end is None else percent(end) if accuracy else end for end in (number.low, number.high)]
    value = number.value or 0.0
    details = {
        "n": panel.n,
        "seed": own.row.seed,
        "evaluations": list(column.cells),
        **({"interval_95": ends} if number.low is not None else {}),
        **({"grade": number.grade} if number.grade else {}),
    }
    return EvalResult(
        task_type=_task_type(own),
        dataset_type=panel.task,
        dataset_name=panel.task,
        dataset_split="test",
        metric_type=panel.metric,
        metric_value=percent(value) if accuracy else value,
        metric_name=metric_name(column, panel),
        metric_config=f"{_OURS}{panel.suite} v{panel.suite_version}, {panel.scale} scale",
        metric_args=details,
    )


def _task_type(own: ExportedPanel) -> str:
    """Task identifier of the hub."""
    if own.panel.metric == "perplexity":
        return "text-generation"
    return "image-classification" if any(row.side for row in own.rows) else "text-classification"


def _section(model: ExportedModel) -> str:
    tables = "\n".join(f"### {printable(_title(own))}\n\n{markdown_text([_block(own)])}" for own in model.panels)
    source = f"Table {model.table}" + (f", {model.time[:10]}" if model.time else "")
    source += f", commit `{model.commit[:12]}`" if model.commit else ""
    return (
        f"{_START}\n## Robustness\n\n{tables}\n"
        "Robust: correct when clean and under every attack of the suite at that radius, an upper bound. Grades say how "
        "far to trust a number: A no problem found, B minor doubt, C likely too high, F not a measure of robustness.\n"
        f"{source}, measured by robustbench_wb.\n{_END}"
    )


def _block(own: ExportedPanel) -> TextBlock:
    panel = own.panel
    rows = tuple(
        (metric_name(column, panel), value_text(number.value, panel.metric), number_interval(number, panel.metric),
         number.grade)
        for column, number in own.numbers
    )  # fmt: skip
    unit = "percent" if panel.metric == "accuracy" else "perplexity"
    headings = (Column("number"), Column(unit, "right"), Column("95 % interval"), Column("grade"))
    return TextBlock(columns=headings, rows=rows)


def _title(own: ExportedPanel) -> str:
    panel = own.panel
    return f"{panel.task}, suite {panel.suite} v{panel.suite_version}, {panel.scale} scale, n = {panel.n}"


def _with_section(text: str, section: str) -> str:
    """Text with its section replaced, or appended if there is none."""
    start = re.escape(_START)
    pattern = re.compile(f"{start}(?:(?!{start}).)*?{re.escape(_END)}", re.DOTALL)  # not from a start without an end
    if pattern.search(text):
        return pattern.sub(lambda _: section, text, count=1)
    return f"{text.rstrip()}\n\n{section}\n"
