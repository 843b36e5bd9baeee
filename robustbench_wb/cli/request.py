"""Command-line options of a request, made from the fields of ``RunRequest``, and requests made from options."""

import inspect
from collections.abc import Callable, Collection
from functools import wraps
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

import typer

from robustbench_wb.api.request import validated
from robustbench_wb.cli.option_names import option_name
from robustbench_wb.engine.request import RunRequest

METAVARS = {
    "tasks": "NAME",
    "variants": "NAME",
    "samples": "N",
    "stressors": "SIGNATURE",
    "epsilons": "EPS",
    "checkpoint": "FILE",
    "data_dir": "DIR",
    "batch": "N",
    "workers": "N",
    "timeout": "SECONDS",
}

FIELDS_OF_RESULTS: Final = RunRequest.model_fields.keys() - {"batch", "workers", "isolate", "timeout", "layers"}
"""Fields of a request without those that say how its cells are measured, which changes no result."""

Command = Callable[..., None]


def takes_request(fields: Collection[str], **defaults: object) -> Callable[[Command], Command]:
    """Give a command one option for each of some fields of a request, in the order of the request's fields.

    The command's parameter ``request`` receives the finished request; its other parameters stay options.

    Args:
        fields: names of fields of ``RunRequest``.
        defaults: values that replace the defaults of the request for this command.
    """

    def decorate(command: Command) -> Command:
        options = {_parameter(name): name for name in RunRequest.model_fields if name in fields}

        @wraps(command)
        def with_request(**given: object) -> None:
            asked = {name: given.pop(option) for option, name in options.items()}
            command(request=make_request(**asked), **given)

        own = inspect.signature(command, eval_str=True).parameters
        added = [_option(option, name, defaults) for option, name in options.items()]
        parameters = [part for item in own.values() for part in (added if item.name == "request" else [item])]
        parameters = [part.replace(kind=inspect.Parameter.KEYWORD_ONLY) for part in parameters]
        with_request.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        with_request.__annotations__ = {part.name: part.annotation for part in parameters}
        return with_request

    return decorate


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
    made = typer.Option(option_name(name), help=text, metavar=METAVARS.get(name))
    default = defaults.get(name, None if many else field.default)
    optional = kind | None if default is None else kind
    return inspect.Parameter(
        option, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[optional, made]
    )


def _plain(annotation: Any) -> Any:
    """Type of an option for a field of that type; the request itself checks the range."""
    if get_origin(annotation) in (Union, UnionType):
        return _plain(next(part for part in get_args(annotation) if part is not type(None)))
    if get_origin(annotation) is tuple:
        return list[str]
    return annotation if annotation in (str, int, float, bool) else str
