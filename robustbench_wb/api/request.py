"""Requests from keyword arguments: each verb takes a request, or the fields of one."""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypedDict, cast

from robustbench_wb.engine.experiment import SINGULAR, Experiment, experiment_of
from robustbench_wb.engine.request import ExecutorName, RunRequest, SearchPrecision, validated
from robustbench_wb.errors import UsageError
from robustbench_wb.models.catalogue import VARIANTS
from robustbench_wb.models.external import is_external
from robustbench_wb.training.recipe import Scale

if TYPE_CHECKING:  # making a request imports no torch
    from torch import nn

    from robustbench_wb.stressors.stressor import Stressor

_log = logging.getLogger(__name__)


class RequestFields(TypedDict, total=False):
    """Fields of a ``robustbench_wb.RunRequest`` as keyword arguments; a single name may stand for a sequence."""

    suite: str | None
    tasks: "str | Sequence[str] | None"
    variants: "str | Sequence[str] | Mapping[str, nn.Module] | None"
    """Names or references; or modules in memory by a name of one's own, which are evaluated as they are."""
    size: str | None
    recipe: str
    scale: Scale
    samples: int | None
    balanced: bool
    split: str
    classes: str | None
    ids: str | None
    stressors: "str | Stressor | Sequence[str | Stressor]"
    epsilons: "str | Sequence[str]"
    checkpoint: str | None
    seed: int
    data_dir: str | None
    device: str
    deterministic: bool
    search_precision: SearchPrecision
    batch: int | None
    executor: ExecutorName
    workers: int | None
    isolate: bool
    timeout: float | None
    layers: bool


class ExperimentFields(RequestFields, total=False):
    """Fields of a request, and lists of suites, recipes and seeds instead of one of each."""

    suites: "str | Sequence[str]"
    recipes: "str | Sequence[str]"
    seeds: "int | str | Sequence[int | str]"
    """Seeds as numbers, a list of numbers, or text with ranges like ``0-2,5``."""


def make_experiment(request: RunRequest | Experiment | None, fields: ExperimentFields) -> Experiment:
    """The experiment, or one made of a request or of keyword arguments.

    Raises:
        UsageError: several of them are given, or a value is out of range; the message names the parameter.
    """
    if isinstance(request, Experiment):
        if fields:
            message = f"an experiment and {next(iter(fields))} are both given; an experiment has all fields"
            raise UsageError(message, next(iter(fields)))
        return request
    several = {name: fields[name] for name in SINGULAR if name in fields}  # type: ignore[literal-required]
    for name in several:
        if SINGULAR[name] in fields:
            raise UsageError(f"{name} and {SINGULAR[name]} are both given; use one of them", name, SINGULAR[name])
    single = cast("RequestFields", {name: value for name, value in fields.items() if name not in several})
    settings = make_request(request, single)
    axes = {name: (getattr(settings, one),) for name, one in SINGULAR.items() if getattr(settings, one) is not None}
    if settings.models and "recipes" in several:
        raise UsageError("recipes: a module in memory is evaluated as it is; leave recipes out", "recipes")
    given = {**axes, "tasks": settings.tasks, "variants": settings.variants, **several}
    return replace(experiment_of(given), settings=settings)


def make_request(request: RunRequest | None, fields: RequestFields) -> RunRequest:
    """The request, or one made of keyword arguments.

    Raises:
        UsageError: both or neither are given, or a value is out of range; the message names the parameter.
    """
    if request is not None:
        return _whole(request, fields)
    given = {name: _tuple(name, value) for name, value in fields.items()}
    models = given.pop("variants") if isinstance(given.get("variants"), Mapping) else {}
    if not isinstance(models, Mapping) or not models:
        return validated(given)
    for name in ("recipe", "checkpoint", "size"):
        if given.get(name) not in (None, "none"):
            raise UsageError(f"{name}: a module in memory is evaluated as it is; leave {name} out", name)
    for name, here in {"workers": (None, 1), "executor": (None, "auto", "inline"), "isolate": (None, False)}.items():
        if given.get(name) not in here:
            raise UsageError(f"{name}: a module in memory is measured by this one process", name)
    for name in models:
        if not (isinstance(name, str) and re.fullmatch(r"[\w.+-]+", name)):
            message = f"variants: {name!r} is not a name; use letters, digits and . + - _ for a module in memory"
            raise UsageError(message, "variants")
        if name in VARIANTS or is_external(name):
            raise UsageError(f"variants: {name!r} is a registered model; give the module another name", "variants")
    return _with_models(validated({**given, "variants": tuple(models), "recipe": "none"}), models)


def _whole(request: object, fields: RequestFields) -> RunRequest:
    if not isinstance(request, RunRequest):
        message = f"request is a RunRequest, not {request!r}; pass its fields by name, like suite='adversarial'"
        raise UsageError(message, "request")
    if fields:
        raise UsageError(f"request and {next(iter(fields))} are both given; a request has all fields", "request")
    return request


def _with_models(request: RunRequest, models: Mapping[str, "nn.Module"]) -> RunRequest:
    from robustbench_wb.models.providers.live import live_factory

    found = [live_factory(name, module) for name, module in models.items()]
    for one in found:
        for note in one.notes:
            _log.warning("%s", note)
    return request.with_models({one.reference: one for one in found})


def _tuple(name: str, value: object) -> object:
    """A field as the request takes it: single names become tuples, stressors their signatures."""
    if name not in ("tasks", "variants", "stressors", "epsilons") or value is None or isinstance(value, Mapping):
        return value
    several = value if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
    return tuple(str(getattr(one, "signature", one)) for one in several)
