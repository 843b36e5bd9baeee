"""``show``: an entry of ``list`` or a version of the score table; a subject's layers, its attacks' strength; curves."""

import re
from typing import Annotated, Any, Literal

import typer

from robustbench_wb.cli import console, options
from robustbench_wb.cli.show_curves import show_curves
from robustbench_wb.cli.show_layers import show_layers
from robustbench_wb.cli.show_strength import show_strength
from robustbench_wb.errors import UnknownNameError, UsageError
from robustbench_wb.registry import suggest

_ALWAYS = {"name", "results", "as_json"}
_OF_STRENGTH = _ALWAYS | {"strength", "stressor", "version"}
_OF_CURVES = _ALWAYS | {"curves", "baseline", "reference"}
_NEEDS = {
    "version": "--strength",
    "stressor": "--layers or --strength",
    "baseline": "--curves",
    "reference": "--curves",
}
"""Where an option belongs; every other one to --layers."""
_VERSION = re.compile(r"v[0-9]+|latest|HEAD(~[0-9]+)?")

Strength = Annotated[
    bool,
    typer.Option("--strength", help="Robust accuracy against the attacks' cost, from stored results; and the checks."),
]
OnlyStressors = Annotated[
    list[str] | None,
    typer.Option(
        "--stressor",
        metavar="SIGNATURE",
        help="With --layers: show the drift under this. Repeatable. With --strength: only this, or a part of it.",
    ),
]
Version = Annotated[
    str | None, typer.Option("--version", help="With --strength: a version like v3.  [default: the latest]")
]
Curves = Annotated[
    bool,
    typer.Option("--curves", help="Of a version: accuracy over strengths, and errors under common corruptions."),
]
Baseline = Annotated[
    str | None,
    typer.Option("--baseline", metavar="VARIANT", help="With --curves: corruption errors as a share of this one's."),
]
Reference = Annotated[
    Literal["alexnet"] | None,
    typer.Option("--reference", help="With --curves: mCE, corruption errors as a share of AlexNet's; ImageNet-C only."),
]


def show_command(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A name that `list` prints, a version like v3, or 'latest'.")],
    layers: Annotated[
        bool, typer.Option("--layers", help="Train the variant, or find it, and measure what each layer does.")
    ] = False,
    strength: Strength = False,
    curves: Curves = False,
    baseline: Baseline = None,
    reference: Reference = None,
    task: Annotated[
        str, typer.Option("--task", help="With --layers: a task's name, or a hub id OWNER/NAME.")
    ] = "digits",
    size: options.Size = None,
    recipe: options.Recipe = "standard",
    scale: options.Scale = "smoke",
    samples: options.Samples = None,
    stressor: OnlyStressors = None,
    version: Version = None,
    checkpoint: options.Checkpoint = None,
    seed: options.Seed = 0,
    data_dir: options.DataDir = None,
    device: options.Device = "auto",
    batch_size: options.Batch = None,
    progress: options.ProgressStyle = "auto",
    results: options.Results = "results",
    as_json: options.Json = False,
) -> None:
    """Show what a name stands for, the scores and provenance of one version or its curves, what the layers of a variant
    do, or what the budgets of its attacks bought.

    Examples:

      robustbench-wb show crate

      robustbench-wb show v1 --results results

      robustbench-wb show latest --curves --baseline vit

      robustbench-wb show crate --layers --stressor "pgd-linf;eps=8/255"

      robustbench-wb show crate --strength --stressor pgd-linf
    """
    _refuse_idle_options(context, {"layers": layers, "strength": strength, "curves": curves})
    if curves:
        if not _VERSION.fullmatch(name):
            raise UsageError(f"--curves are of a version like v3, or of 'latest', not of {name!r}")
        show_curves(name, baseline, reference is not None, results, as_json)
    elif strength:
        show_strength(name, stressor, version, results, as_json)
    elif layers:
        show_layers(
            name, progress, as_json, tasks=[task], size=size, recipe=recipe, scale=scale, samples=samples,
            stressors=stressor, checkpoint=checkpoint, seed=seed, data_dir=data_dir, device=device, batch=batch_size,
        )  # fmt: skip
    elif _VERSION.fullmatch(name):
        _show_version(name, results, as_json)
    else:
        _show_entry(name, as_json)


def _refuse_idle_options(context: typer.Context, questions: dict[str, bool]) -> None:
    """An option that would change nothing was meant to change something.

    Raises:
        UsageError: an option was given without the one that it belongs to.
    """
    asked = [name for name, wanted in questions.items() if wanted]
    if len(asked) > 1:
        raise UsageError(f"--{asked[0]} and --{asked[1]} are two questions; ask one at a time")
    of_layers = set(context.params) - {"version", "baseline", "reference"}
    taken = {"layers": of_layers, "strength": _OF_STRENGTH, "curves": _OF_CURVES}[asked[0]] if asked else _ALWAYS
    for name in context.params:
        source = context.get_parameter_source(name)
        if name not in taken and source is not None and source.name == "COMMANDLINE":
            raise UsageError(f"--{name.replace('_', '-')} needs {_NEEDS.get(name, '--layers')}")


def _show_version(name: str, results: str, as_json: bool) -> None:
    from robustbench_wb.report.details import any_json, details_blocks
    from robustbench_wb.report.scores import score_blocks
    from robustbench_wb.store.scores import ScoreTable

    table = ScoreTable(results)
    number = table.version(None if name == "latest" else name)
    rows = table.rows(number)
    info = table.info(number)
    details = {"committed": info.time.isoformat(timespec="seconds"), **info.provenance}
    content = {"version": number, "time": info.time.isoformat(), "provenance": info.provenance, "rows": rows}
    console.present(
        lambda: [*score_blocks(rows, number, console.width()), *details_blocks(f"v{number}", details)],
        lambda: any_json(content),
        as_json,
    )


def _show_entry(name: str, as_json: bool) -> None:
    from robustbench_wb.cli.list import registries
    from robustbench_wb.report.details import any_json, details_blocks

    known = registries()
    found = {kind: _details(kind, registry.get(name)) for kind, registry in known.items() if name in registry}
    if not found:
        names = [entry for registry in known.values() for entry in registry.names()]
        raise UnknownNameError(f"nothing is called {name!r}; {suggest(name, names)}")
    console.present(
        lambda: [block for kind, details in found.items() for block in details_blocks(f"{kind[:-1]} {name}", details)],
        lambda: any_json(found),
        as_json,
    )


def _details(kind: str, value: Any) -> dict[str, Any]:
    """The fields of an entry as JSON types."""
    from robustbench_wb.spec import Spec, plain

    if kind == "stressors":
        defaults = {key: str(field.default) for key, field in value.model_fields.items() if not field.is_required()}
        required = [key for key, field in value.model_fields.items() if field.is_required()]
        return {"what": _first_line(value.__doc__), "required numbers": required, "defaults": defaults}
    if kind == "recipes":
        budgets = {scale: value("digits", scale) for scale in ("smoke", "small", "full")}
        on_digits = {f"digits, {scale}": plain(recipe) for scale, recipe in budgets.items()}
        return {"what": _first_line(value.__doc__), **on_digits}
    if isinstance(value, Spec):
        details: dict[str, Any] = plain(value)
        return details
    facts = getattr(value, "facts", None)
    return plain(facts) if isinstance(facts, Spec) else {"what": _first_line(type(value).__doc__)}


def _first_line(text: str | None) -> str:
    return " ".join((text or "").split("\n\n")[0].split())
