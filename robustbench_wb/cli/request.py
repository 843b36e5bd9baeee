"""Command-line options of a request, made from the fields of ``RunRequest``, and requests made from options."""

import inspect
from collections.abc import Callable, Collection
from functools import wraps
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

import typer

from robustbench_wb.cli.option_names import option_name
from robustbench_wb.engine.experiment import SINGULAR, experiment_of, read_experiment
from robustbench_wb.engine.request import RunRequest, validated
from robustbench_wb.errors import UsageError

METAVARS = {
    "tasks": "NAME",
    "variants": "NAME",
    "samples": "N",
    "split": "NAME",
    "classes": "FILE",
    "ids": "FILE",
    "stressors": "SIGNATURE",
    "epsilons": "EPS",
    "checkpoint": "FILE",
    "data_dir": "DIR",
    "batch": "N",
    "executor": "NAME",
    "workers": "N",
    "timeout": "SECONDS",
}

FIELDS_OF_RESULTS: Final = RunRequest.model_fields.keys() - {
    "batch",
    "executor",
    "workers",
    "isolate",
    "timeout",
    "layers",
}
"""Fields of a request without those that say how its cells are measured, which changes no result."""

Command = Callable[..., None]

_METAVARS_OF_ONE: Final = {"suite": "NAME", "recipe": "NAME", "seed": "N"}
_PLURALS: Final = {one: several for several, one in SINGULAR.items()}


def takes_request(fields: Collection[str], **defaults: object) -> Callable[[Command], Command]:
    """Give a command one option for each of some fields of a request, in the order of the request's fields.

    The command's parameter ``request`` receives the finished request; its other parameters stay options. A suite,
    recipe or seed that is given twice is an error: click would take the last one.

    Args:
        fields: names of fields of ``RunRequest``.
        defaults: values that replace the defaults of the request for this command.
    """

    def decorate(command: Command) -> Command:
        options = {_parameter(name): name for name in RunRequest.model_fields if name in fields}
        added = [_option(option, name, defaults) for option, name in options.items()]

        @wraps(command)
        def with_request(**given: object) -> None:
            asked = {name: given.pop(option) for option, name in options.items()}
            for name in _PLURALS.keys() & asked.keys():
                asked[name] = _only_one(name, asked[name], command)
            command(request=make_request(**asked), **given)

        return _with_options(with_request, command, at="request", added=added)

    return decorate


def _only_one(name: str, given: object, command: Command) -> object:
    """The only value of an option that repeats for other commands; None if it is not given."""
    values = given if isinstance(given, list) else []
    if len(values) > 1:
        verb = command.__name__.removesuffix("_command")
        several = "; `run`, `train` and `explain` take several" if name == "seed" else ""
        raise UsageError(f"{name} is given more than once; type `{verb}` once for each{several}", name)
    return values[0] if values else None


def takes_experiment(fields: Collection[str], *, file: bool = True) -> Callable[[Command], Command]:
    """Give a command one option for some fields of a request, of which suites, recipes and seeds repeat.

    The command's parameter ``experiment`` receives the finished experiment; its other parameters stay options.

    Args:
        fields: names of fields of ``RunRequest``, with ``seed``.
        file: whether the command also takes an experiment file. Options that are given replace what it says.
    """
    options = {_parameter(name): name for name in RunRequest.model_fields if name in fields}
    added = [*([_file()] if file else []), *(_option_of_experiment(option, name) for option, name in options.items())]
    at = next(place for place, part in enumerate(added) if part.name == "seed")
    added.insert(at + 1, _seeds())

    def decorate(command: Command) -> Command:
        @wraps(command)
        def with_experiment(**given: object) -> None:
            path, seeds = given.pop("file", None), given.pop("seeds")
            asked = {_PLURALS.get(name, name): given.pop(option) for option, name in options.items()}
            if seeds is not None and asked["seeds"]:
                raise UsageError("seed and seeds are both given; use one of them", "seed", "seeds")
            asked["seeds"] = seeds or asked["seeds"]
            wanted = {name: value for name, value in asked.items() if value not in (None, [])}
            found = experiment_of(wanted) if path is None else read_experiment(str(path), **wanted)
            command(experiment=found, **given)

        return _with_options(with_experiment, command, at="experiment", added=added)

    return decorate


def _with_options(wrapper: Command, command: Command, *, at: str, added: list[inspect.Parameter]) -> Command:
    """The wrapper with the parameters of a command, of which the one called ``at`` is replaced by others."""
    own = inspect.signature(command, eval_str=True).parameters
    parameters = [part for item in own.values() for part in (added if item.name == at else [item])]
    parameters = [part.replace(kind=inspect.Parameter.KEYWORD_ONLY) for part in parameters]
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {part.name: part.annotation for part in parameters}
    return wrapper


def make_request(**given: object) -> RunRequest:
    """Request from the values of options; a value that is None or empty takes the default of the request.

    Raises:
        UsageError: a value is out of range; the message names the parameter.
    """
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    return validated({name: value for name, value in values.items() if value not in (None, ())})


def _parameter(name: str) -> str:
    """Name of the option's parameter: the option ``--batch-size`` is ``batch_size``."""
    return option_name(name).removeprefix("--").replace("-", "_")


def _option(option: str, name: str, defaults: dict[str, object]) -> inspect.Parameter:
    field = RunRequest.model_fields[name]
    kind = _plain(field.annotation)
    many = get_origin(kind) is list
    text = str(field.description)
    if name in defaults:
        text = text.partition(" Default:")[0]
    if many:
        text = f"{text} Repeatable."
    if name in _PLURALS:  # a list only to see whether it is given twice
        shown = str(field.default) if field.default is not None else False
        once = typer.Option(option_name(name), help=text, metavar=_METAVARS_OF_ONE[name], show_default=shown)
        return _parameter_of(option, list[kind] | None, once)  # type: ignore[valid-type]
    made = typer.Option(option_name(name), help=text, metavar=METAVARS.get(name))
    default = defaults.get(name, None if many else field.default)
    return _parameter_of(option, kind | None if default is None else kind, made).replace(default=default)


def _option_of_experiment(option: str, name: str) -> inspect.Parameter:
    """Option without a value of its own, because the experiment file has the value where the option is not given."""
    field = RunRequest.model_fields[name]
    kind = _plain(field.annotation)
    several = name in _PLURALS or get_origin(kind) is list
    text = f"{field.description} Repeatable." if several else str(field.description)
    shown = str(field.default) if field.default not in (None, (), False) else False
    metavar = METAVARS.get(name) or _METAVARS_OF_ONE.get(name)
    made = typer.Option(option_name(name), help=text, metavar=metavar, show_default=shown)
    wanted = list[kind] if name in _PLURALS else kind  # type: ignore[valid-type]
    return _parameter_of(option, wanted | None, made)


def _file() -> inspect.Parameter:
    text = "Experiment file (TOML): tasks x variants x recipes x suites x seeds. Options replace what it says."
    return _parameter_of("file", str | None, typer.Argument(metavar="EXPERIMENT.toml", help=text, show_default=False))


def _seeds() -> inspect.Parameter:
    text = "Several seeds at once, like 0-2 or 0,3,7."
    return _parameter_of("seeds", str | None, typer.Option("--seeds", metavar="LIST", help=text))


def _parameter_of(name: str, kind: Any, made: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, made])


def _plain(annotation: Any) -> Any:
    """Type of an option for a field of that type; the request itself checks the range."""
    if get_origin(annotation) in (Union, UnionType):
        return _plain(next(part for part in get_args(annotation) if part is not type(None)))
    if get_origin(annotation) is tuple:
        return list[str]
    return annotation if annotation in (str, int, float, bool) else str
