"""``show``: an entry of ``list``, or the scores and provenance of a version of the score table."""

import re
from typing import Annotated, Any

import typer

from robustbench_wb.cli import console, options
from robustbench_wb.errors import UnknownNameError
from robustbench_wb.registry import suggest_names

_VERSION = re.compile(r"v[0-9]+|latest|HEAD(~[0-9]+)?")


def show_command(
    name: Annotated[str, typer.Argument(help="A name that `list` prints, a version like v3, or 'latest'.")],
    results: options.Results = "results",
    full: options.Full = False,
    as_json: options.Json = False,
) -> None:
    """Show what a name stands for, or the headline numbers of one version of the score table.

    --full prints every evaluation and the provenance of the version.

    Examples:

      robustbench-wb show crate

      robustbench-wb show v1 --full
    """
    if _VERSION.fullmatch(name):
        _show_version(name, results, full=full, as_json=as_json)
    else:
        _show_entry(name, as_json)


def _show_version(name: str, results: str, *, full: bool, as_json: bool) -> None:
    from robustbench_wb import leaderboard
    from robustbench_wb.api.curves import distance_curves
    from robustbench_wb.report.curves import distance_blocks
    from robustbench_wb.report.details import details_blocks, details_json
    from robustbench_wb.report.headline import first_screen
    from robustbench_wb.report.scores import score_blocks
    from robustbench_wb.report.text_block import TextBlock
    from robustbench_wb.store.score_table import ScoreTable

    table = ScoreTable(results)
    number = table.version(None if name == "latest" else name)
    rows = table.rows(number)
    info = table.info(number)
    details = {"committed": info.time.isoformat(timespec="seconds"), **info.provenance}
    content = {"version": number, "time": info.time.isoformat(), "provenance": info.provenance, "rows": rows}

    def blocks() -> list[TextBlock]:
        if full:
            distances = distance_blocks(distance_curves(f"v{number}", results), number)
            return [*score_blocks(rows, number, console.width()), *distances, *details_blocks(f"v{number}", details)]
        headline = leaderboard(f"v{number}", results).headline
        note = TextBlock(notes=(f"v{number} of {details['committed']}. All evaluations and provenance: --full",))
        return [*first_screen(headline, width=console.screen_width()), note]

    console.present(blocks, lambda: details_json(content), as_json)


def _show_entry(name: str, as_json: bool) -> None:
    from robustbench_wb.cli.list import registries
    from robustbench_wb.report.details import details_blocks, details_json

    known = registries()
    found = {kind: _details(kind, registry.get(name)) for kind, registry in known.items() if name in registry}
    if not found:
        names = [entry for registry in known.values() for entry in registry.names()]
        raise UnknownNameError(f"nothing is called {name!r}; {suggest_names(name, names)}")
    console.present(
        lambda: [block for kind, details in found.items() for block in details_blocks(f"{kind[:-1]} {name}", details)],
        lambda: details_json(found),
        as_json,
    )


def _details(kind: str, value: Any) -> dict[str, Any]:
    """The fields of an entry as JSON types."""
    from robustbench_wb.spec import Spec, to_json_types

    if kind == "stressors":
        defaults = {key: str(field.default) for key, field in value.model_fields.items() if not field.is_required()}
        required = [key for key, field in value.model_fields.items() if field.is_required()]
        return {"what": _first_line(value.__doc__), "required numbers": required, "defaults": defaults}
    if kind == "models":
        return {"what": _first_line(value.__doc__), "code": f"{value.__module__}:{value.__qualname__}"}
    if kind == "recipes":
        budgets = {scale: value("digits", scale) for scale in ("smoke", "small", "full")}
        on_digits = {f"digits, {scale}": to_json_types(recipe) for scale, recipe in budgets.items()}
        return {"what": _first_line(value.__doc__), **on_digits}
    if isinstance(value, Spec):
        details: dict[str, Any] = to_json_types(value)
        return details
    facts = getattr(value, "facts", None)
    return to_json_types(facts) if isinstance(facts, Spec) else {"what": _first_line(type(value).__doc__)}


def _first_line(text: str | None) -> str:
    return " ".join((text or "").split("\n\n")[0].split())
