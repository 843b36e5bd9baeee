"""``list``: names and summaries of everything registered. Imports no torch: registries load entries lazily."""

from typing import Annotated, Any

import typer

from robustbench_wb.cli import console, options
from robustbench_wb.errors import UnknownNameError
from robustbench_wb.registry import Registry, suggest_names


def registries() -> dict[str, Registry[Any]]:
    """Registries that a user chooses from, by plural name."""
    from robustbench_wb.models.catalogue import VARIANTS
    from robustbench_wb.models.external import SUBJECTS
    from robustbench_wb.stressors.catalogue import STRESSORS
    from robustbench_wb.suites.suite import SUITES
    from robustbench_wb.tasks.catalogue import TASKS
    from robustbench_wb.training.recipe import RECIPES

    return {
        "variants": VARIANTS,
        "models": SUBJECTS,
        "tasks": TASKS,
        "recipes": RECIPES,
        "stressors": STRESSORS,
        "suites": SUITES,
    }


def list_command(
    kind: Annotated[
        str | None,
        typer.Argument(help="variants, models (of plug-ins), tasks, recipes, stressors or suites; all when left out."),
    ] = None,
    results: options.Results = "results",
    as_json: options.Json = False,
) -> None:
    """List variants, tasks, recipes, stressors and suites, built in and from plug-ins.

    Examples:

      robustbench-wb list

      robustbench-wb list variants --json
    """
    known = registries()
    if kind is not None and kind not in known:
        raise UnknownNameError(f"unknown kind {kind!r}; {suggest_names(kind, list(known))}")
    listing = {
        name: [{"name": entry.name, "summary": entry.summary, "origin": entry.origin} for entry in registry]
        for name, registry in known.items()
        if kind in (None, name)
    }
    from robustbench_wb.report.details import details_json, listing_blocks

    console.present(lambda: listing_blocks(listing), lambda: details_json(listing), as_json)
