"""Tables as data, with two renderers: aligned plain text for pipes, rich tables for terminals."""

from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from textwrap import wrap
from typing import Literal

from rich.cells import cell_len
from rich.console import Group
from rich.table import Table as RichTable
from rich.text import Text

Align = Literal["left", "right"]
GAP = 2
"""Number of blanks between two columns."""
LINE = 80
"""Terminal columns of a note on the first screen of a command."""


@dataclass(frozen=True)
class Column:
    """Table column: heading and alignment."""

    heading: str
    align: Align = "left"


@dataclass(frozen=True)
class TextBlock:
    """Table with an optional title above and notes below."""

    title: str = ""
    _: KW_ONLY
    columns: tuple[Column, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    """Cells of each row, one per column."""
    notes: tuple[str, ...] = ()
    styles: dict[str, str] = field(default_factory=dict)
    """Rich style of a cell by its text; the plain renderer ignores it."""
    styled: tuple[str, ...] = ()
    """Headings of the columns whose cells have styles; empty: all columns."""

    @property
    def width(self) -> int:
        """Width of the plain table in terminal columns."""
        widths = _widths([column.heading for column in self.columns], self.rows)
        return sum(widths) + GAP * (len(widths) - 1)

    def style(self, cell: str, column: Column) -> str:
        """Style of a cell; empty for none."""
        return self.styles.get(cell, "") if not self.styled or column.heading in self.styled else ""


def fit_width(block: TextBlock, width: int | None, dispensable: Sequence[str]) -> TextBlock:
    """Drop less important columns until a block fits a width.

    Args:
        block: block with all columns.
        width: terminal columns; None keeps all.
        dispensable: headings of droppable columns, least important first.

    Returns:
        The block; wider than ``width`` if dropping all dispensable columns does not suffice.
    """
    for heading in dispensable:
        if width is None or block.width <= width:
            break
        kept = [at for at, column in enumerate(block.columns) if column.heading != heading]
        rows = tuple(tuple(row[at] for at in kept) for row in block.rows)
        block = replace(block, columns=tuple(block.columns[at] for at in kept), rows=rows)
    return block


def wrapped(notes: Iterable[str]) -> tuple[str, ...]:
    """Notes broken into lines of at most ``LINE`` characters, at blanks."""
    return tuple(line for note in notes for line in wrap(note, LINE, break_long_words=False, break_on_hyphens=False))


def counted(count: int, noun: str) -> str:
    """Count with its noun: ``1 row``, ``1200 rows``.

    Args:
        count: number of things.
        noun: singular, whose plural ends in s; several words are possible if the last one is the noun.
    """
    return f"{count} {noun}{'' if count == 1 else 's'}"


def printable(text: str) -> str:
    """Text on one line without control characters, because names and error messages come from outside."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def plain_table(headings: Sequence[str], rows: Sequence[Sequence[str]], align: Sequence[Align] = ()) -> str:
    """Aligned columns without box characters: a line per row, without trailing blanks or a final newline.

    Args:
        headings: one heading per column.
        rows: cells of each row, one per column.
        align: alignment per column; missing columns are left-aligned.
    """
    sides = [*align, *(["left"] * (len(headings) - len(align)))]
    widths = _widths(headings, rows)
    lines = []
    for row in (headings, *rows):
        cells = []
        for cell, width, side in zip(row, widths, sides, strict=True):
            text = printable(cell)
            blanks = " " * (width - cell_len(text))
            cells.append(blanks + text if side == "right" else text + blanks)
        lines.append((" " * GAP).join(cells).rstrip())
    return "\n".join(lines)


def plain_text(blocks: Sequence[TextBlock]) -> str:
    """Blocks as plain text, separated by empty lines, with a final newline unless there are no blocks."""
    parts = []
    for block in blocks:
        table = plain_table(
            [column.heading for column in block.columns],
            block.rows,
            [column.align for column in block.columns],
        )
        heading = [printable(block.title)] if block.title else []
        parts.append("\n".join([*heading, *([table] if block.rows else []), *map(printable, block.notes)]))
    return "\n\n".join(parts) + "\n" if parts else ""


def rich_group(blocks: Sequence[TextBlock]) -> Group:
    """Blocks as one rich renderable. Cells are literal text, so brackets are never read as markup."""
    parts: list[RichTable | Text] = []
    for number, block in enumerate(blocks):
        if number:
            parts.append(Text(""))
        if block.title:
            parts.append(Text(printable(block.title), style="bold"))
        if block.rows:
            parts.append(_rich_table(block))
        parts += [Text(printable(note), style="dim") for note in block.notes]
    return Group(*parts)


def _rich_table(block: TextBlock) -> RichTable:
    table = RichTable(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="bold")
    for column in block.columns:
        table.add_column(Text(printable(column.heading)), justify=column.align, overflow="fold")
    for row in block.rows:
        table.add_row(
            *(Text(printable(cell), style=block.style(cell, at)) for at, cell in zip(block.columns, row, strict=True))
        )
    return table


def _widths(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    return [
        max([cell_len(printable(heading)), *(cell_len(printable(row[index])) for row in rows)])
        for index, heading in enumerate(headings)
    ]
