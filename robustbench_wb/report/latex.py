"""Headline numbers as LaTeX tables (booktabs), to be pasted into a paper."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from robustbench_wb.analysis.headline.headline import Headline, HeadlineNumber, HeadlinePanel, HeadlineRow
from robustbench_wb.records.names import Metric
from robustbench_wb.report.headline import seed_list
from robustbench_wb.report.headline_text import value_text
from robustbench_wb.report.model_labels import model_labels, recipe_text
from robustbench_wb.report.text_block import counted, printable

_SPECIAL: Final = {
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    **{"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}", "`": r"\textasciigrave{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': "{''}", "'": r"{\textquotesingle}"},
    **{"[": "{[}", "]": "{]}", "*": "{*}"},  # after the end of a line, these would be its option
}  # fmt: skip
_LATIN: Final = range(0xC0, 0x180)
"""Letters with accents, which LaTeX reads without a package."""
_NORMS: Final = {"Linf": r"$\ell_\infty$", "L2": r"$\ell_2$", "L1": r"$\ell_1$"}
NEEDS: Final = "% Needs \\usepackage{booktabs,textcomp} in the preamble.\n"
_UPPER_BOUND: Final = ("C", "F")


def latex_text(text: str) -> str:
    """Text that LaTeX prints as it is.

    Control characters become blanks. Letters that LaTeX does not know without a package are given by their code point,
    like ``U+4E2D``, so that every document compiles.
    """
    found = "".join(_letter(letter) for letter in printable(text))
    return re.sub(r"([-,])(?=\1)", r"\1{}", found)  # or else two of them join to a dash or a quotation mark


def _letter(letter: str) -> str:
    if letter in _SPECIAL:
        return _SPECIAL[letter]
    known = letter.isascii() or (ord(letter) in _LATIN and letter.isalpha())
    return letter if known else f"U+{ord(letter):04X}"


def headline_latex(headline: Headline) -> str:
    """One ``table`` environment per panel: a row per model, best first, and a column per headline number.

    Numbers have their 95 % intervals. The models in bold do not differ significantly from the best one. The document
    needs the packages booktabs and textcomp; an empty text without panels.
    """
    labels = label_names(f"{panel.task}-{panel.suite}" for panel in headline.panels)
    return NEEDS + "\n".join(map(_table, headline.panels, labels)) if headline.panels else ""


def _table(panel: HeadlinePanel, label: str) -> str:
    shown = [at for at, column in enumerate(panel.columns) if column.first or at == panel.main]
    headings = [heading_latex(panel.columns[at].name) for at in shown]
    rows = [_cells(panel, row, shown) for row in panel.rows]
    return booktabs(["Model", *headings], rows, caption=_caption(panel), label=label)


def label_names(names: Iterable[str]) -> list[str]:
    """Labels of tables without the signs that LaTeX does not take; equal ones get numbers."""
    found: list[str] = []
    for name in names:
        label = first = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        number = 1
        while label in found:
            number += 1
            label = f"{first}-{number}"
        found.append(label)
    return found


def booktabs(headings: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str, label: str) -> str:
    """A ``table`` environment; the first column is left-aligned, the others are right-aligned."""
    lines = [
        r"\begin{table}[t]",
        r"  \centering\small",
        f"  \\caption{{{caption}}}",
        f"  \\label{{tab:{label}}}",
        f"  \\begin{{tabular}}{{l{'r' * (len(headings) - 1)}}}",
        r"    \toprule",
        f"    {' & '.join(headings)} \\\\",
        r"    \midrule",
        *(f"    {' & '.join(row)} \\\\" for row in rows),
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def heading_latex(name: str) -> str:
    """Heading of a headline column, with the norm as a formula."""
    first, blank, rest = name.partition(" ")
    return f"{_NORMS[first]}{blank}{latex_text(rest)}" if first in _NORMS else latex_text(name.capitalize())


def _cells(panel: HeadlinePanel, row: HeadlineRow, shown: Sequence[int]) -> list[str]:
    best = set(panel.rows[0].group)
    cells = [latex_text(model_labels(panel.rows, sized=False)[row.subject])]
    for at in shown:
        bold = at == panel.main and bool(best & set(row.group) or row is panel.rows[0])
        cells.append(number_latex(row.numbers[at], panel.metric, bold=bold))
    return cells


def number_latex(number: HeadlineNumber, metric: Metric, *, bold: bool = False) -> str:
    """Number with its interval in small type, and with its grade as a superscript if it is an upper bound only."""
    if number.value is None:
        return "--"
    value = value_text(number.value, metric)
    text = f"\\textbf{{{value}}}" if bold else value
    if number.grade in _UPPER_BOUND:
        text += f"\\textsuperscript{{{number.grade}}}"
    if number.low is None:
        return text
    high = "$\\infty$" if number.high is None else value_text(number.high, metric)
    return f"{text} {{\\scriptsize [{value_text(number.low, metric)}, {high}]}}"


def _caption(panel: HeadlinePanel) -> str:
    seeds = sorted({row.seed for row in panel.rows})
    what = "Robust accuracy (\\%)" if panel.metric == "accuracy" else "Perplexity"
    facts = f"$n = {panel.n}$, seed{'s' if len(seeds) > 1 else ''} {seed_list(seeds)}"
    suite = latex_text(f"{panel.suite} v{panel.suite_version}")
    where = f"{latex_text(panel.task)}, suite {suite}, {latex_text(panel.scale)} scale"
    recipe = latex_text(recipe_text(panel.rows))
    sentences = [f"{what} on {', '.join(filter(None, (where, recipe, facts)))}."]
    if panel.main_column.rule == "joint":
        sentences.append("Robust means correct under every attack of the suite at that radius.")
    if any(number.low is not None for row in panel.rows for number in row.numbers):
        sentences.append("Brackets: 95\\,\\% intervals.")
    by = heading_latex(panel.main_column.name)
    if any(row.group for row in panel.rows):
        tested = f"paired tests, Holm-corrected over {counted(panel.tests, 'pair')}"
        sentences.append(f"Bold: not significantly different from the best model by {by} ({tested}).")
    else:
        sentences.append(f"Bold: best model by {by}; significance is unknown.")
    if any(number.low is None for row in panel.rows for number in row.numbers):
        sentences.append("Numbers without an interval are bounds, because records of samples are missing.")
    if any(number.grade in _UPPER_BOUND for row in panel.rows for number in row.numbers):
        sentences.append("C and F mark upper bounds: the attacks were probably too weak.")
    return " ".join(sentences)
