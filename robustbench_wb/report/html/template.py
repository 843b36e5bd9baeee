"""From a template and its values to a document that loads nothing."""

from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.resources import files
from itertools import count
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from robustbench_wb.report.text_block import printable

FOLDED: Final = 100
"""A table of more rows is closed until it is asked for: what is not laid out costs no time."""


def render(template: str, /, **values: Any) -> str:
    """The document of a template; the same values give the same bytes.

    Its content security policy allows its own style and script by their digests, and images inside the file: neither a
    text of the table nor an extension of the page can load or run anything.
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
    """Texts come from outside: one line, no control characters. What is markup already is our own."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _source(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
