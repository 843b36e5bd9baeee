"""Results as HTML for the output cells of notebooks, without a style sheet of their own."""

from collections.abc import Iterable, Sequence

from markupsafe import Markup

from robustbench_wb.report.html.headline_table import HeadlineCell, HeadlineTable, headline_tables
from robustbench_wb.report.panel import PanelRows
from robustbench_wb.report.text_block import Column, TextBlock, printable


def notebook_html(panels: Iterable[PanelRows]) -> str:
    """Verdict and headline numbers of each panel."""
    parts = [
        Markup("<h4>{}</h4>").format(printable(panel.title)) + _verdict(own) + blocks_html([_block(own)])
        for panel in panels
        for own in headline_tables(panel)
    ]
    return str(Markup("").join(parts))


def blocks_html(blocks: Sequence[TextBlock]) -> Markup:
    """Blocks as HTML tables with their notes; all texts are escaped."""
    return Markup("").join(map(_table, blocks))


def _verdict(own: HeadlineTable) -> Markup:
    number = f"{_number(own.number)} {own.unit}".rstrip()
    return Markup("<p><b>{}: {}</b> {}. {}</p>").format(printable(own.leader), number, own.what, own.margin)


def _number(cell: HeadlineCell) -> str:
    return " ".join(part for part in (cell.text, cell.interval, cell.grade) if part)


def _block(own: HeadlineTable) -> TextBlock:
    columns = (Column("rank"), Column("model"), *(Column(heading, "right") for heading in own.headings))
    rows = tuple(
        (
            line.rank,
            line.label,
            *(" ".join(filter(None, (cell.text, cell.interval, cell.grade))) for cell in line.cells),
        )
        for line in own.lines
    )
    return TextBlock(columns=columns, rows=rows, notes=own.notes)


def _table(block: TextBlock) -> Markup:
    head = Markup("").join(Markup("<th>{}</th>").format(printable(column.heading)) for column in block.columns)
    body = Markup("").join(
        Markup("<tr>{}</tr>").format(Markup("").join(Markup("<td>{}</td>").format(printable(text)) for text in row))
        for row in block.rows
    )
    notes = Markup("").join(Markup("<div><small>{}</small></div>").format(printable(note)) for note in block.notes)
    title = Markup("<caption>{}</caption>").format(printable(block.title)) if block.title else Markup("")
    return Markup("<table>{}<thead><tr>{}</tr></thead><tbody>{}</tbody></table>{}").format(title, head, body, notes)
