"""Tables as GitHub-flavoured Markdown."""

from collections.abc import Iterable, Sequence

from robustbench_wb.report.text_block import TextBlock, printable


def markdown_text(blocks: Sequence[TextBlock]) -> str:
    """Blocks as Markdown: titles as headings, tables with alignment, notes as lists. Cells are literal text."""
    parts = []
    for level, block in enumerate(blocks):
        lines = [f"{'##' if level else '#'} {_literal(block.title)}", ""] if block.title else []
        if block.rows:
            sides = ["---:" if column.align == "right" else "---" for column in block.columns]
            headings = tuple(column.heading for column in block.columns)
            first, *others = (_line(map(_literal, row)) for row in (headings, *block.rows))
            lines += [first, _line(sides), *others, ""]
        lines += [f"- {_literal(note)}" for note in block.notes]
        parts.append("\n".join(lines).strip("\n"))
    return "\n\n".join(part for part in parts if part) + "\n"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _literal(text: str) -> str:
    """Text with every character escaped that Markdown or HTML would read as markup."""
    escaped = printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for sign in "\\`*_[]|#~":
        escaped = escaped.replace(sign, f"\\{sign}")
    return escaped
