"""The page: every part of it handed to the template, which escapes all texts."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from importlib.resources import files
from itertools import count
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from robustbench_wb.report.comparison import comparison_blocks
from robustbench_wb.report.curves import curves_blocks
from robustbench_wb.report.details import details_blocks
from robustbench_wb.report.html.gallery import Gallery
from robustbench_wb.report.html.layer_plots import layer_parts
from robustbench_wb.report.html.matrix import matrix
from robustbench_wb.report.html.numbers import LEFT_OUT, numbers
from robustbench_wb.report.html.panel import PanelRows, panels
from robustbench_wb.report.html.plots import cost_figures, curve_figures, scatter_figures
from robustbench_wb.report.html.trust import trust_blocks
from robustbench_wb.report.lengths import lengths_blocks
from robustbench_wb.report.text import clean
from robustbench_wb.stats.comparison import Comparison
from robustbench_wb.stats.corruption_errors import CorruptionErrors
from robustbench_wb.stats.curves import Curve
from robustbench_wb.stats.lengths import LengthCurve
from robustbench_wb.store.rows import ScoreRow

FOLDED: Final = 100
"""A table of more rows is closed until it is asked for: what is not laid out costs no time."""


@dataclass(frozen=True)
class Contents:
    """What a page is about."""

    name: str
    """Of the table, like ``v3`` or ``board.csv``."""
    rows: Sequence[ScoreRow]
    version: int | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Of the version, as JSON types; empty for a file."""
    curves: Sequence[Curve] = ()
    lengths: Sequence[LengthCurve] = ()
    errors: Sequence[CorruptionErrors] = ()
    comparison: Comparison | None = None
    """With an earlier table."""
    gallery: Sequence[Gallery] = ()


def page(contents: Contents) -> str:
    """The whole report as one HTML document that loads nothing; the same contents give the same bytes.

    Its content security policy allows its own style and script by their digests, and images inside the file: neither a
    text of the table nor an extension of the page can load or run anything.
    """
    found = panels(contents.rows)
    source = files("robustbench_wb.report.html") / "templates"
    style, script = ((source / name).read_text(encoding="utf-8") for name in ("style.css", "script.js"))
    return (
        _environment()
        .get_template("page.html")
        .render(
            contents=contents,
            style=Markup(style),
            script=Markup(script),
            policy=f"default-src 'none'; img-src data:; style-src {_source(style)}; script-src {_source(script)}",
            panels=[_panel(own, contents.version) for own in found],
            curves=[
                *curves_blocks(contents.curves, contents.errors, contents.version),
                *lengths_blocks(contents.lengths, contents.version),
            ],
            trust=trust_blocks(found),
            changes=[] if contents.comparison is None else comparison_blocks(contents.comparison),
            provenance=details_blocks(contents.name, contents.provenance) if contents.provenance else [],
            left_out=LEFT_OUT,
            folded=FOLDED,
            block_id=count(1).__next__,
        )
    )


def _panel(own: PanelRows, version: int | None) -> dict[str, Any]:
    figures = (
        ("Number against strength", curve_figures(own)),
        ("Clean against stressed, at the strength where the subjects are furthest apart", scatter_figures(own)),
        ("What it costs", cost_figures(own)),
    )
    return {
        "anchor": own.anchor,
        "title": own.title,
        "matrix": matrix(own, version),
        "figures": [(title, shown) for title, shown in figures if shown],
        "layers": layer_parts(own),
        "numbers": numbers(own),
    }


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("robustbench_wb.report.html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )


def _shown(value: object) -> object:
    """Texts come from outside: one line, no control characters. What is markup already is our own."""
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _source(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
