"""Reading a stressor from its signature."""

from typing import TYPE_CHECKING

from robustbench_wb.errors import UsageError
from robustbench_wb.stressors.names import STRESSORS

if TYPE_CHECKING:  # stressors import torch; naming them must not
    from robustbench_wb.stressors.stressor import Stressor

__all__ = ["PROVIDER", "STRESSORS", "parse_stressor", "strength_axis"]

PROVIDER = "torchattacks:"


def strength_axis(name: str) -> str | None:
    """Name of the parameter that is a stressor's strength, like ``eps``; None for a stressor without one.

    Raises:
        UnknownNameError: no stressor has that name.
    """
    return "eps" if name.startswith(PROVIDER) else STRESSORS.get(name).axis


def parse_stressor(signature: str) -> "Stressor":
    """Build a stressor from its signature; omitted parameters take their defaults.

    ``pgd-linf;eps=8/255;steps=40`` is a native attack, ``torchattacks:MIFGSM;eps=8/255;steps=10`` an attack of the
    library torchattacks.

    Raises:
        UnknownNameError: no stressor has that name.
        UsageError: a parameter is unknown, malformed or out of range.
    """
    from robustbench_wb.stressors.stressor import build_stressor

    name, *parts = (part.strip() for part in signature.split(";"))
    numbers: dict[str, object] = {}
    for part in parts:
        key, equals, value = part.partition("=")
        if not (key and equals and value):
            raise UsageError(f"stressor {signature!r}: {part!r} is not of the form name=value")
        if key in numbers:
            raise UsageError(f"stressor {signature!r} gives {key!r} twice")
        numbers[key] = value
    if name.startswith(PROVIDER):
        from robustbench_wb.stressors.attacks.torchattacks import torchattacks_stressor

        return torchattacks_stressor(name.removeprefix(PROVIDER), numbers)
    return build_stressor(STRESSORS.get(name), numbers)
