"""Task ``folder:DIR``: pictures in a folder, of any size and number, with any number of classes."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, get_args

import numpy as np
from pydantic import ValidationError

from robustbench_wb.errors import DataError, UsageError
from robustbench_wb.models.image_geometry import Crop, ImageGeometry, Interpolation
from robustbench_wb.models.shape import ImageShape
from robustbench_wb.tasks.fitting_patch import fitting_patch
from robustbench_wb.tasks.image_decoding import MIXED_SIZE
from robustbench_wb.tasks.pictures.class_map import read_class_map, sorted_classes
from robustbench_wb.tasks.pictures.listing import LabelledPictures, list_splits
from robustbench_wb.tasks.pictures.manifest import PictureFile, read_manifest
from robustbench_wb.tasks.pictures.picture_split import PictureDataset, PictureSource, PictureSplit
from robustbench_wb.tasks.task import Dataset
from robustbench_wb.text_files import read_text, reason_of

PREFIX: Final = "folder:"
_OPTIONS: Final = ("size", "resize", "interpolation", "crop", "labels", "classes", "ids")
_GEOMETRY: Final = ("size", "resize", "interpolation", "crop")


class FolderTask:
    """Image task of a folder, see ``robustbench_wb.tasks.pictures.listing`` for its forms.

    Options follow the folder: ``;size=224;resize=256;interpolation=bicubic;crop=center`` (``ImageGeometry``),
    ``;labels=FILE`` (table of labels), ``;classes=FILE`` (``read_class_map``; ``imagenet-1k`` is known) and
    ``;ids=FILE`` (evaluated pictures, one path or file name per line). Without a size, pictures of one size keep it,
    and pictures of several sizes become 64 x 64, unless the plan takes the geometry of the first model.

    Raises:
        UsageError: the folder does not exist, or an option is wrong.
    """

    def __init__(self, name: str, geometry: ImageGeometry | None = None) -> None:
        place, *options = name.removeprefix(PREFIX).split(";")
        self.folder = Path(place).expanduser()
        if not place or not self.folder.is_dir():
            raise UsageError(f"task {name!r}: folder {place or '(none)'} does not exist", "tasks")
        self._options = _parsed(name, options)
        own = _geometry(name, {key: value for key, value in self._options.items() if key in _GEOMETRY})
        self.geometry = own or geometry
        kept = [f"{key}={value}" for key, value in self._options.items() if key not in _GEOMETRY]
        self.name = PREFIX + ";".join([place, *kept]) + _text(self.geometry)

    def with_geometry(self, geometry: ImageGeometry) -> "FolderTask":
        """Return a task of this folder with a geometry; a task that has a geometry of its own stays as it is."""
        return self if self.geometry is not None else FolderTask(self.name, geometry)

    def load(self, data_dir: str | None) -> Dataset:
        """List the pictures, and read each file that is new or changed; decode nothing.

        Raises:
            DataError: there are no pictures, a file is no picture, or a label is unknown.
        """
        labels = self._options.get("labels")
        splits = list_splits(self.folder, None if labels is None else Path(labels).expanduser())
        first = splits.get("train") or next(iter(splits.values()))
        every = [label for split in splits.values() for label in split.labels]
        reference = self._options.get("classes")
        classes = sorted_classes(first.labels) if reference is None else read_class_map(reference, every)
        manifest = read_manifest(self.folder, [file for split in splits.values() for file in split.files])
        geometry = self._used_geometry(list(manifest.values()))
        shape = _shape(list(manifest.values()), geometry)
        evaluated = "test" if "test" in splits else "validation"
        if evaluated not in splits:
            raise DataError(f"{self.folder} has a folder for training only; a task needs 'test' or 'val' as well")
        if "ids" in self._options:
            splits[evaluated] = self._chosen(splits[evaluated])

        def part(split: str) -> PictureSplit:
            own = splits.get(split, LabelledPictures((), ()))
            source = PictureSource(
                folder=self.folder,
                files=own.files,
                digests=[manifest[file].sha256 for file in own.files],
                geometry=geometry,
                shape=shape,
            )
            return PictureSplit(source, np.array(classes.numbers(own.labels, f"{self.folder}, {split}"), np.int64))

        channels, height, width = shape
        return PictureDataset(
            label=self.label(geometry),
            classes=classes.names,
            train=part("train"),
            test=part(evaluated),
            validation=part("validation") if evaluated == "test" and "validation" in splits else None,
            shape=ImageShape(
                channels=channels,
                height=height,
                width=width,
                classes=len(classes.names),
                patch=fitting_patch(height, width),
            ),
        )

    def label(self, geometry: ImageGeometry | None) -> str:
        """Name of the data in tables: the name of the folder and the geometry, without the path."""
        return (self.folder.resolve().name or "folder") + _text(geometry)

    def _used_geometry(self, pictures: Sequence[PictureFile]) -> ImageGeometry | None:
        """Geometry of the task; None if there is none and all pictures have one size."""
        mixed = len({(one.height, one.width) for one in pictures}) > 1
        return self.geometry or (ImageGeometry(size=MIXED_SIZE) if mixed else None)

    def _chosen(self, pictures: LabelledPictures) -> LabelledPictures:
        """Pictures that the file of ids names, in their own order.

        Raises:
            DataError: the file cannot be read, or names a picture that is not there or not unique.
        """
        path = Path(self._options["ids"]).expanduser()
        try:
            wanted = [line.strip().replace("\\", "/") for line in read_text(path).splitlines() if line.strip()]
        except (OSError, ValueError) as error:
            raise DataError(f"ids {path} cannot be read: {reason_of(error)}") from error
        places = {file: row for row, file in enumerate(pictures.files)}
        by_name: dict[str, list[int]] = {}
        for file, row in places.items():
            by_name.setdefault(file.rpartition("/")[2], []).append(row)
        rows = set()
        for line in wanted:
            found = [places[line]] if line in places else by_name.get(line.rpartition("/")[2], [])
            if len(found) != 1:
                problem = "which several folders hold; write its path" if found else f"which {self.folder} lacks"
                raise DataError(f"ids {path} names {line}, {problem}")
            rows.add(found[0])
        if not rows:
            raise DataError(f"ids {path} names no pictures")
        kept = sorted(rows)
        return LabelledPictures(tuple(pictures.files[row] for row in kept), tuple(pictures.labels[row] for row in kept))


def _text(geometry: ImageGeometry | None) -> str:
    return "" if geometry is None else geometry.text


def _shape(pictures: Sequence[PictureFile], geometry: ImageGeometry | None) -> tuple[int, int, int]:
    """Channels, height and width of an image; grey pictures have one channel if all are grey."""
    channels = 1 if all(one.grey for one in pictures) else 3
    if geometry is None:
        return channels, pictures[0].height, pictures[0].width
    return channels, geometry.size, geometry.size


def _parsed(name: str, options: Sequence[str]) -> dict[str, str]:
    pairs = [option.partition("=") for option in options]
    for key, _, value in pairs:
        if key not in _OPTIONS or not value:
            raise UsageError(
                f"task {name!r}: {key!r} is no option; write ;NAME=VALUE with {', '.join(_OPTIONS)}", "tasks"
            )
    return {key: value for key, _, value in pairs}


def _geometry(name: str, options: dict[str, str]) -> ImageGeometry | None:
    """Geometry of the options; None if there are none.

    Raises:
        UsageError: a value is wrong, or the size is missing.
    """
    if not options:
        return None
    if "size" not in options:
        raise UsageError(f"task {name!r}: {', '.join(options)} need a size as well, like ;size=224", "tasks")
    for key in ("size", "resize"):
        if key in options and not re.fullmatch(r"[1-9]\d{0,4}", options[key]):
            raise UsageError(f"task {name!r}: {key} must be a number of pixels, like {key}=224", "tasks")
    for key, known in (("interpolation", Interpolation), ("crop", Crop)):
        if key in options and options[key] not in get_args(known):
            raise UsageError(f"task {name!r}: {key} must be one of {', '.join(get_args(known))}", "tasks")
    try:
        return ImageGeometry.model_validate(options)
    except ValidationError as error:
        problem = error.errors()[0]
        raise UsageError(f"task {name!r}: {problem['loc'][0]} {problem['msg'].lower()}", "tasks") from None
