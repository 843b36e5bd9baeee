"""Variants and recipes with changed numbers, like ``crate;lam=0.05`` and ``standard;epochs=10``: rows of their own.

``crate;test.lam=0.5`` is the trained ``crate``, evaluated with another number.
"""

import inspect
from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from robustbench_wb.errors import MeasurementError, UsageError, as_measurement_error
from robustbench_wb.invalid_fields import first_invalid_field
from robustbench_wb.models.catalogue import ATTENTIONS, EMBEDDINGS, FEEDFORWARDS, HEADS, RESIDUALS, VARIANTS
from robustbench_wb.models.shape import ImageShape
from robustbench_wb.models.variant import Option, Size, Variant
from robustbench_wb.registry import Registry, suggest_names
from robustbench_wb.spec import to_json_types
from robustbench_wb.training.recipe import Adversary, Recipe, Scale, find_recipe
from robustbench_wb.training.segmentation_recipes import with_segmentation_budget

OTHER_NAMES: Final = {"lambda": "lam", "lr": "learning_rate"}
"""Numbers as papers and other libraries call them, with the names of this package."""
SEPARATOR: Final = ";"
"""Sign between a name and the numbers that follow it."""
TEST: Final = "test."
"""Beginning of a number of a variant that is changed after training."""

_SOCKETS: Final[Mapping[str, Registry[Any]]] = {
    "attention": ATTENTIONS,
    "residual": RESIDUALS,
    "feedforward": FEEDFORWARDS,
    "embedding": EMBEDDINGS,
    "text_embedding": EMBEDDINGS,
    "head": HEADS,
    "language_head": HEADS,
}
_ADVERSARY: Final = tuple(name for name in Adversary.model_fields if name not in ("method", "norm"))
_ANY_IMAGE: Final = ImageShape(channels=1, height=8, width=8, classes=2, patch=2)


class FoundVariant(NamedTuple):
    """A variant with its changed numbers."""

    name: str
    """Name with the numbers in one spelling."""
    trained: Variant
    """What is trained."""
    tested: Variant
    """What is evaluated, with the weights of ``trained``; equal to it unless numbers begin with ``TEST``."""


class NamedNumbers(NamedTuple):
    """A name and the numbers that were written behind it, in the order of their names."""

    name: str
    numbers: dict[str, str]


def split_numbers(kind: str, reference: str) -> NamedNumbers:
    """Split ``crate;lam=0.05`` into its name and its numbers.

    Args:
        kind: what the reference names, for messages: ``variant`` or ``recipe``.
        reference: name, and numbers behind semicolons.

    Raises:
        UsageError: a part is not of the form ``name=value``, or a number is given twice.
    """
    name, *parts = (part.strip() for part in reference.split(SEPARATOR))
    numbers: dict[str, str] = {}
    for part in parts:
        key, _, value = (text.strip() for text in part.partition("="))
        if not (key and value):
            raise UsageError(f"{kind} {reference!r}: {part!r} is not of the form name=value")
        place, dot, last = key.rpartition(".")
        key = place + dot + OTHER_NAMES.get(last, last)
        if key in numbers:
            raise UsageError(f"{kind} {reference!r} gives {key!r} twice")
        numbers[key] = value
    return NamedNumbers(name, dict(sorted(numbers.items())))


def find_variant(reference: str, size: str) -> FoundVariant:
    """Find a registered variant and change its numbers.

    Numbers are options of the mechanisms of the variant (``lam``, or ``feedforward.lam`` where several mechanisms have
    it), and ``width``, ``depth``, ``heads`` and ``dim_head`` of its size. An option that begins with ``TEST``
    (``test.lam``) is changed after training.

    Raises:
        UnknownNameError: no variant has the name, or the variant has no such size.
        UsageError: a number is unknown, ambiguous, malformed or out of range, or the trained weights do not fit a
            number that is changed after training.
    """
    name, numbers = split_numbers("variant", reference)
    variant = VARIANTS.get(name)
    chosen = variant.size(size)  # raises for an unknown size, before any work
    if not numbers:
        return FoundVariant(name, variant, variant)
    sides = {key: _converted(name, key, 0, text=text) for key, text in numbers.items() if key in Size.model_fields}
    options = {key: text for key, text in numbers.items() if key not in sides}
    before = {key: text for key, text in options.items() if not key.startswith(TEST)}
    after = {key.removeprefix(TEST): text for key, text in options.items() if key not in before}
    sized = {"sizes": {size: _resized(name, chosen, sides)}} if sides else {}
    trained, changed = _with_options(variant.model_copy(update=sized), before)
    tested, changed_later = _with_options(trained, after)
    _refuse_unbuildable(trained, size)
    if tested != trained:
        _refuse_unbuildable(tested, size)
        _refuse_other_weights(trained, tested, size)
    spelled = dict(sorted({**sides, **changed}.items())) | {TEST + key: value for key, value in changed_later.items()}
    return FoundVariant(_spelled(name, spelled), trained, tested)


def _with_options(variant: Variant, numbers: Mapping[str, str]) -> tuple[Variant, dict[str, Option]]:
    """A variant with other options of its mechanisms, and their values by name."""
    options = _socket_options(variant)
    changed: dict[str, dict[str, Option]] = {}
    values: dict[str, Option] = {}
    for key, text in numbers.items():
        socket, option = _find_option(variant.name, key, options)
        values[key] = _converted(variant.name, key, options[socket, option], text=text)
        changed.setdefault(f"{socket}_options", {})[option] = values[key]
    update = {field: {**getattr(variant, field), **given} for field, given in changed.items()}
    return variant.model_copy(update=update), values


def _socket_options(variant: Variant) -> dict[tuple[str, str], object]:
    """Options of all mechanisms of a variant by socket and name, each with its current value."""
    found: dict[tuple[str, str], object] = {}
    for socket, registry in _SOCKETS.items():
        given = getattr(variant, f"{socket}_options")
        for option in inspect.signature(registry.get(getattr(variant, socket))).parameters.values():
            if isinstance(option.default, bool | int | float | str):
                found[socket, option.name] = given.get(option.name, option.default)
    return found


def _find_option(variant: str, key: str, options: Iterable[tuple[str, str]]) -> tuple[str, str]:
    socket, dot, option = key.rpartition(".")
    option = OTHER_NAMES.get(option, option)
    found = [at for at in options if at[1] == option and (not dot or at[0] == socket)]
    if not found:
        known = [*{at[1] for at in options}, *Size.model_fields]
        raise UsageError(f"variant {variant!r} has no number {key!r}; {suggest_names(key, known)}")
    if len(found) > 1:
        either = " or ".join(f"{at[0]}.{option}" for at in found)
        raise UsageError(f"several mechanisms of variant {variant!r} have {option!r}; write {either}")
    return found[0]


def _converted(variant: str, key: str, like: Any, *, text: str) -> Any:
    """A value of the type of ``like``."""
    try:
        value = {"true": True, "false": False}[text.lower()] if isinstance(like, bool) else type(like)(text)
    except (ValueError, KeyError):
        kind = {bool: "true or false", int: "a whole number", float: "a number"}[type(like)]
        raise UsageError(f"variant {variant!r}: {key} must be {kind}, not {text!r}") from None
    if isinstance(value, float) and not isfinite(value):
        raise UsageError(f"variant {variant!r}: {key} must be finite, not {text!r}")
    return value


def _resized(variant: str, size: Size, sides: Mapping[str, int]) -> Size:
    kept = size.model_dump(exclude={"dim_head"} if {"width", "heads"} & sides.keys() else None)
    try:
        return Size.model_validate({**kept, **sides})
    except ValidationError as error:
        raise UsageError(f"variant {variant!r}: {first_invalid_field(error, Size)}") from None


def _refuse_unbuildable(variant: Variant, size: str) -> None:
    """Raise UsageError if a mechanism refuses its numbers. The model takes no memory."""
    from robustbench_wb.models.build import skeleton

    try:
        with as_measurement_error(f"variant {variant.name!r}"):
            skeleton(variant, size, _ANY_IMAGE)
    except MeasurementError as error:
        raise UsageError(str(error)) from error


def _refuse_other_weights(trained: Variant, tested: Variant, size: str) -> None:
    """Raise UsageError if the weights of one variant have other names or shapes than those of the other."""
    from robustbench_wb.models.build import skeleton
    from robustbench_wb.models.weights import weights_of

    shapes = [
        {name: weight.shape for name, weight in weights_of(skeleton(variant, size, _ANY_IMAGE)).items()}
        for variant in (trained, tested)
    ]
    if shapes[0] != shapes[1]:
        other = next(name for name in {**shapes[0], **shapes[1]} if shapes[0].get(name) != shapes[1].get(name))
        raise UsageError(
            f"variant {trained.name!r}: a number behind {TEST!r} changes the weights ({other}), which are trained "
            f"before; leave {TEST!r} out to train the changed variant"
        )


def find_changed_recipe(reference: str, task: str, scale: Scale) -> tuple[str, Recipe]:
    """Registered recipe with its changed numbers, and its name with the numbers in one spelling.

    Numbers are the fields of ``Recipe`` and those of its adversary, like ``eps``; ``adversary.warmup`` is that of the
    adversary.

    Raises:
        UnknownNameError: no recipe has the name.
        UsageError: a number is unknown, malformed or out of range, or nothing is trained.
    """
    name, numbers = split_numbers("recipe", reference)
    recipe = with_segmentation_budget(find_recipe(name, task, scale), task, scale)
    if not numbers:
        return name, recipe
    if recipe.epochs == 0:
        raise UsageError(f"recipe {name!r} trains nothing and has no numbers")
    adversary = {} if recipe.adversary is None else recipe.adversary.model_dump()
    own = recipe.model_dump(exclude={"adversary"})
    inner: dict[str, str] = {}  # numbers of the adversary, by the name that was written
    for key, text in numbers.items():
        at = key.removeprefix("adversary.")
        if at in _ADVERSARY and adversary and (at != key or at not in own):
            inner[key] = at
            adversary[at] = text
        elif key in own:
            own[key] = text
        else:
            known = [*own, *(adversary and _ADVERSARY)]
            raise UsageError(f"recipe {name!r} has no number {key!r}; {suggest_names(key, known)}")
    try:
        found = Recipe.model_validate({**own, "adversary": adversary or None})
    except ValidationError as error:
        raise UsageError(f"recipe {name!r}: {first_invalid_field(error, Recipe)}") from None
    values = to_json_types(found)
    spelled = {key: values["adversary"][inner[key]] if key in inner else values[key] for key in numbers}
    if not all(isfinite(value) for value in spelled.values() if isinstance(value, float)):
        raise UsageError(f"recipe {reference!r}: numbers must be finite")
    return _spelled(name, spelled), found


def _spelled(name: str, values: Mapping[str, object]) -> str:
    texts = {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in values.items()}
    return SEPARATOR.join([name, *(f"{key}={text}" for key, text in texts.items())])
