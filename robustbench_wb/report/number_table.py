"""Tables with another score of the headline numbers than the one that ranks."""

from collections.abc import Callable

from robustbench_wb.analysis.headline.headline import HeadlineNumber, HeadlinePanel
from robustbench_wb.report.model_labels import model_labels
from robustbench_wb.report.text_block import Column, TextBlock, fit_width


def number_table(
    panel: HeadlinePanel, title: str, text: Callable[[HeadlineNumber], str], *, every: bool, width: int | None
) -> TextBlock:
    """Table with a line per model and a column per headline number.

    Args:
        panel: panel to show.
        title: title of the table.
        text: text of a number.
        every: whether to show all headline columns, else those of the first screen.
        width: terminal columns to fit by dropping columns; None keeps all.
    """
    labels = model_labels(panel.rows, sized=False)
    shown = [at for at, column in enumerate(panel.columns) if every or column.first or at == panel.main]
    block = TextBlock(
        title=title,
        columns=(Column("model"), *(Column(panel.columns[at].name, "right") for at in shown)),
        rows=tuple((labels[row.subject], *(text(row.numbers[at]) for at in shown)) for row in panel.rows),
    )
    kept = {panel.main, *(at for at, column in enumerate(panel.columns) if column.rule == "clean")}
    others = sorted((at for at in shown if at not in kept), key=lambda at: (panel.columns[at].first, -at))
    return fit_width(block, width, [panel.columns[at].name for at in others])
