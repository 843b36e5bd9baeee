"""Signatures as people write them: spellings of numbers, names of other libraries, and radii on the scale of 0 to 255.

Signatures of stored records are read by ``robustbench_wb.stressors.catalogue`` alone, which accepts any radius.
"""

import re
from fractions import Fraction
from typing import Final

import torch

from robustbench_wb.errors import MeasurementError, UsageError
from robustbench_wb.models.shape import ImageShape
from robustbench_wb.norms import L1_NORM, L2_NORM, LINF
from robustbench_wb.stressors.attacks.attack import BallBoundedStressor
from robustbench_wb.stressors.catalogue import PROVIDER, STRESSORS, parse_stressor
from robustbench_wb.stressors.stressor import Stressor

MAX_DIGITS: Final = 18
"""Largest number of digits, and of powers of ten, of a number: more than that fits into no 64-bit integer."""
OTHER_NAMES: Final = {
    "epsilon": "eps",
    "epsilons": "eps",
    "iterations": "steps",
    "alpha": "step",
    "step_size": "step",
    "start": "initial",
    "random_start": "initial",
}
"""Parameters as other libraries call them, with the names of this package."""
_DECIMAL = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_NUMBER: Final = re.compile(rf"({_DECIMAL})(?:\s*/\s*({_DECIMAL}))?")


def read_signature(signature: str) -> Stressor:
    """Build the stressor of a signature that a person wrote.

    Raises:
        UnknownNameError: no stressor has that name.
        UsageError: a parameter is unknown, malformed or out of range, or a radius is above 1 in Linf.
    """
    name, *parts = (part.strip() for part in signature.split(";"))
    tidy = [name]
    for part in parts:
        key, equals, value = (text.strip() for text in part.partition("="))
        _refuse_other_name(name, key)
        tidy.append(f"{key}{equals}{read_number(value, key)}")
    return within_pixels(parse_stressor(";".join(tidy)))


def read_number(text: str, parameter: str) -> str:
    """A number as the parsers of this package read it; any other text unchanged.

    ``8 / 255`` and ``8./255`` are 8/255.

    Raises:
        UsageError: the number has more digits than a 64-bit integer. The message names the parameter.
    """
    match = _NUMBER.fullmatch(text.strip())
    if match is None:
        return text
    whole, divisor = match.groups()
    for decimal in (whole, divisor or "1"):
        digits, _, power = decimal.lower().partition("e")
        if sum(map(str.isdigit, digits)) > MAX_DIGITS or len(power) > 4 or abs(int(power or 0)) > MAX_DIGITS:
            shown = text if len(text) <= 40 else f"{text[:20]}..."
            raise UsageError(f"{parameter}={shown} is no usable number: it has more than {MAX_DIGITS} digits")
    if divisor is None:
        return whole
    return f"{whole}/{divisor}" if Fraction(divisor) == 0 else str(Fraction(whole) / Fraction(divisor))


def within_pixels(stressor: Stressor) -> Stressor:
    """Return the stressor unless its Linf radius is above 1, the range of pixels.

    Raises:
        UsageError: the strength has too many digits, or the radius is above 1; the message says how 8 of 255 grey
            levels are written.
    """
    read_number(stressor.strength, stressor.axis or "strength")
    eps = Fraction(stressor.strength) if _is_in_linf(stressor) else Fraction(0)
    if eps > 1:
        meant = f"{eps}/255" if eps.denominator == 1 else str(eps / 255)
        raise UsageError(
            f"{stressor.label}: eps={eps} is above 1, but pixels are in [0, 1]; for {float(eps):g} of 255 grey levels, "
            f"write {meant}"
        )
    return stressor


def within_images(stressor: Stressor, shape: ImageShape) -> Stressor:
    """Return the stressor unless its ball in L2 or L1 holds every image of a shape, whatever its centre.

    Raises:
        UsageError: the radius is larger than the distance between a black and a white image, or see ``within_pixels``.
    """
    within_pixels(stressor)
    if not isinstance(stressor, BallBoundedStressor) or stressor.norm.name not in (L2_NORM.name, L1_NORM.name):
        return stressor
    values = shape.channels * shape.height * shape.width
    largest = values**0.5 if stressor.norm.name == L2_NORM.name else float(values)
    if stressor.radius > largest:
        raise UsageError(
            f"{stressor.label}: eps={stressor.eps} is larger than {largest:g}, the distance between a black and a "
            f"white image of {shape.channels}x{shape.height}x{shape.width} in [0, 1]: every image is allowed"
        )
    return stressor


def _refuse_other_name(name: str, key: str) -> None:
    """Raise UsageError if ``key`` is another library's name of a parameter that the stressor has."""
    known = STRESSORS.get(name).model_fields if name in STRESSORS else {}
    ours = OTHER_NAMES.get(key, key)
    if ours in known and key not in known:
        raise UsageError(f"stressor {name!r} has no parameter {key!r}; the parameter is called {ours}")


def _is_in_linf(stressor: Stressor) -> bool:
    """Whether the stressor promises a ball in Linf around images, in units of pixels."""
    if isinstance(stressor, BallBoundedStressor):
        return stressor.norm.name == LINF.name
    if not stressor.name.startswith(PROVIDER.removesuffix(":")) or not stressor.strength:
        return False
    # An attack of a library tells its ball only by what it refuses: four changes of 0.4, and one of 0.9.
    small = stressor.at("1/2")
    return _allows(small, (0.4, 0.4, 0.4, 0.4)) and not _allows(small, (0.9, 0.0, 0.0, 0.0))


def _allows(stressor: Stressor, change: tuple[float, ...]) -> bool:
    perturbed = torch.tensor(change).view(1, 1, 2, 2)
    try:
        stressor.check(torch.zeros_like(perturbed), perturbed)
    except MeasurementError:
        return False
    return True
