"""Trained models, registry listings and the details of one registry entry, as tables and JSON."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from robustbench_wb.report.text_block import Column, TextBlock, printable
from robustbench_wb.spec import to_json_types

COST_NOTE: Final = (
    "Cost per model and task, if no sample is broken: evaluations x samples, and forward passes per sample. An input "
    "gradient counts as two passes; ? is not known beforehand."
)


def trained_models_blocks(subjects: Iterable[Mapping[str, Any]]) -> list[TextBlock]:
    """Table of the models that ``train`` trained or found in the cache, one row per model."""
    lines, notes = [], []
    for subject in subjects:
        names = tuple(str(subject[name]) for name in ("task", "variant", "size", "recipe", "seed"))
        card = subject["card"]
        if card is None:
            lines.append((*names, "", "", "error", ""))
            notes.append(f"{subject['variant']}: {subject['error']}")
        else:
            how = "trained now" if card["trained"] else "from the cache" if card["train_seconds"] else "as given"
            facts = (f"{card['parameters']:,}", f"{card['train_seconds']:.1f}", how, card["weights"][:12])
            lines.append((*names, *facts))
    columns = [Column(name) for name in ("task", "variant", "size", "recipe", "seed")]
    columns += [Column("parameters", "right"), Column("seconds", "right"), Column("how"), Column("weights")]
    return [TextBlock(columns=tuple(columns), rows=tuple(lines), notes=tuple(notes))]


def listing_blocks(listing: Mapping[str, list[dict[str, Any]]]) -> list[TextBlock]:
    """Names and summaries of registry entries, one table per kind of entry; no table of several has no rows.

    Entries with ``costs`` (fields of ``robustbench_wb.engine.suite_costs.SuiteCost``) get a column for each scale.
    """
    return [_listing(kind, entries) for kind, entries in listing.items() if entries or len(listing) == 1]


def _listing(kind: str, entries: Sequence[Mapping[str, Any]]) -> TextBlock:
    scales = list(dict.fromkeys(str(cost["scale"]) for entry in entries for cost in entry.get("costs", ())))
    columns = [Column("name"), Column("what"), *(Column(scale) for scale in scales), Column("origin")]
    rows = []
    for entry in entries:
        costs = {cost["scale"]: cost_text(cost) for cost in entry.get("costs", ())}
        shown = [costs.get(scale, "") for scale in scales]
        rows.append((entry["name"], entry["summary"], *shown, entry["origin"]))
    return TextBlock(kind, columns=tuple(columns), rows=tuple(rows), notes=(COST_NOTE,) if scales else ())


def cost_text(cost: Mapping[str, Any]) -> str:
    """Cost of a suite at one scale, like ``22 x 360, 1622 passes``."""
    samples = "all" if cost["samples"] is None else str(cost["samples"])
    return f"{cost['evaluations']} x {samples}, {'?' if cost['passes'] is None else cost['passes']} passes"


def details_blocks(title: str, details: Mapping[str, object]) -> list[TextBlock]:
    """Table of the nonempty fields of one registry entry; no table without such fields."""
    filled = ((name, _words(value)) for name, value in details.items() if value not in (None, {}, []))
    lines = tuple((name, text) for name, text in filled if printable(text))
    return [TextBlock(title, columns=(Column("field"), Column("value")), rows=lines)] if lines else []


def details_json(value: object) -> str:
    """Specs, lists and dictionaries as indented JSON."""
    return json.dumps(to_json_types(value), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)


def _words(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_words(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return "; ".join(_words(item) for item in value)
    return str(value)
