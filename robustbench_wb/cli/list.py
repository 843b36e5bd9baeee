"""``list``: names and summaries of everything registered. Imports torch for nothing but the costs of suites."""

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

    `list suites` also says what each one costs per model and task, at each scale.

    Examples:

      robustbench-wb list

      robustbench-wb list variants --json
    """
    known = registries()
    if kind is not None and kind not in known:
        raise UnknownNameError(f"unknown kind {kind!r}; {suggest_names(kind, list(known))}")
    listing: dict[str, list[dict[str, Any]]] = {
        name: [{"name": entry.name, "summary": entry.summary, "origin": entry.origin} for entry in registry]
        for name, registry in known.items()
        if kind in (None, name)
    }
    if kind == "suites":
        _add_costs(listing["suites"])
    from robustbench_wb.report.details import details_json, listing_blocks

    console.present(lambda: listing_blocks(listing), lambda: details_json(listing), as_json)


def _add_costs(entries: list[dict[str, Any]]) -> None:
    from dataclasses import asdict

    from robustbench_wb.engine.suite_costs import suite_costs
    from robustbench_wb.suites.suite import find_suite

    for entry in entries:
        entry["costs"] = [asdict(cost) for cost in suite_costs(find_suite(entry["name"]))]
