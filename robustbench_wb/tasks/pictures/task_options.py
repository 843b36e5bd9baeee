"""Options after the name of a task of pictures, like ``;size=224;classes=imagenet-1k``."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final, get_args

from pydantic import ValidationError

from robustbench_wb.errors import DataError, UsageError
from robustbench_wb.invalid_fields import first_invalid_field
from robustbench_wb.models.image_geometry import Crop, ImageGeometry, Interpolation
from robustbench_wb.text_files import read_text, reason_of

GEOMETRY: Final = ("size", "resize", "interpolation", "crop")
"""Options that say how pictures become images."""
SELECTION: Final = ("classes", "outputs", "ids", "split")
"""Options that say which pictures are evaluated, and which outputs of a model they mean."""
PRESENT: Final = "present"
"""Value of ``outputs``: only the classes of the evaluated pictures are possible answers."""
MERGED: Final = "merged"
"""Value of ``outputs``: a label of the class list may mean several outputs, and any of them is right."""


def parse_options(name: str, known: Collection[str]) -> tuple[str, dict[str, str]]:
    """Name of a task without its options, and the options by name.

    Raises:
        UsageError: an option is unknown, has no value, or is given twice.
    """
    place, *texts = name.split(";")
    found: dict[str, str] = {}
    for key, _, value in (text.partition("=") for text in texts):
        if key not in known:
            raise UsageError(
                f"task {name!r}: {key!r} is no option; write ;NAME=VALUE with {', '.join(known)} (a folder with ; in "
                "its name needs a link without it)",
                "tasks",
            )
        if not value:
            raise UsageError(f"task {name!r}: {key} needs a value, like ;{key}=VALUE", "tasks")
        if found.setdefault(key, value) != value:
            raise UsageError(f"task {name!r}: {key} is given as {found[key]!r} and as {value!r}; name one", "tasks")
    if found.get("outputs", PRESENT) not in (PRESENT, MERGED):
        raise UsageError(
            f"task {name!r}: outputs can only be {PRESENT} or {MERGED}; leave it out for all outputs", "tasks"
        )
    if found.get("outputs") == MERGED and "classes" not in found:
        raise UsageError(f"task {name!r}: outputs={MERGED} needs classes=FILE, which names the outputs", "tasks")
    return place, found


def border_of(name: str, options: Mapping[str, str]) -> int:
    """Pixels that are cut off at each side of a picture; 0 without the option.

    Raises:
        UsageError: the value is no number of pixels.
    """
    text = options.get("border", "0")
    if not re.fullmatch(r"0|[1-9]\d{0,3}", text):
        raise UsageError(f"task {name!r}: border must be a number of pixels, like border=2", "tasks")
    return int(text)


def geometry_of(name: str, options: Mapping[str, str]) -> ImageGeometry | None:
    """Geometry that the options of a task say; None if they say none.

    Raises:
        UsageError: a value is wrong, or the size is missing.
    """
    options = {key: value for key, value in options.items() if key in GEOMETRY}
    if not options:
        return None
    if "size" not in options:
        raise UsageError(f"task {name!r}: {', '.join(options)} need a size as well, like ;size=224", "tasks")
    for key in ("size", "resize"):
        if key in options and not re.fullmatch(r"[1-9]\d{0,4}", options[key]):
            raise UsageError(
                f"task {name!r}: {key} must be a number of pixels of at most five digits, like {key}=224", "tasks"
            )
    for key, allowed in (("interpolation", Interpolation), ("crop", Crop)):
        if key in options and options[key] not in get_args(allowed):
            raise UsageError(f"task {name!r}: {key} must be one of {', '.join(get_args(allowed))}", "tasks")
    try:
        return ImageGeometry.model_validate(options)
    except ValidationError as error:
        raise UsageError(f"task {name!r}: {first_invalid_field(error, ImageGeometry)}", "tasks") from None


def read_ids(reference: str) -> list[str]:
    """Lines of a file of ids, without empty ones.

    Raises:
        DataError: the file cannot be read, or is empty.
    """
    path = Path(reference).expanduser()
    try:
        lines = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise DataError(f"ids {path} cannot be read: {reason_of(error)}") from error
    if not lines:
        raise DataError(f"ids {path} names no pictures")
    return lines
