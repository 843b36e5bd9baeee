"""Rendering of HTML templates to self-contained documents."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from itertools import count
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from robustbench_wb.report.text_block import printable

FOLDED: Final = 100
"""Number of rows above which a table is collapsed, because hidden tables cost no layout time."""


@dataclass(frozen=True)
class PageLink:
    """Link to another page of a site."""

    title: str
    file: str
    """File in the same folder."""


def render(template: str, /, *, links: Sequence[PageLink] = (), **values: object) -> str:
    """Document of a template; equal values give equal bytes. ``links`` lead to the other pages of a site.

    The content security policy allows the page's own style and script by their digests, and images inside the file.
    Text of the table can therefore neither load nor run anything.
    """
    source = files("robustbench_wb.report.html") / "templates"
    style, script = ((source / part).read_text(encoding="utf-8") for part in ("style.css", "script.js"))
    return (
        _environment()
        .get_template(template)
        .render(
            style=Markup(style),
            script=Markup(script),
            policy=f"default-src 'none'; img-src data:; style-src {_source(style)}; script-src {_source(script)}",
            folded=FOLDED,
            block_id=count(1).__next__,
            links=links,
            **values,
        )
    )


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
    """Value for the template: texts come from outside and are reduced to one printable line; markup is our own."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _source(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
