"""Task ``folder:DIR``: pictures in a folder, of any size and number, with any number of classes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from robustbench_wb.errors import DataError, UsageError
from robustbench_wb.models.chosen_outputs import TakenOutputs
from robustbench_wb.models.image_geometry import ImageGeometry
from robustbench_wb.models.shape import ImageShape
from robustbench_wb.tasks.fitting_patch import fitting_patch
from robustbench_wb.tasks.image_decoding import MIXED_SIZE
from robustbench_wb.tasks.pictures.class_map import ClassMap, read_class_map, read_merged_classes, sorted_classes
from robustbench_wb.tasks.pictures.listing import SPLITS, LabelledPictures, list_splits
from robustbench_wb.tasks.pictures.manifest import PictureFile, read_manifest
from robustbench_wb.tasks.pictures.picture_split import PictureDataset, PictureSource, PictureSplit
from robustbench_wb.tasks.pictures.task_options import (
    GEOMETRY,
    MERGED,
    SELECTION,
    border_of,
    geometry_of,
    parse_options,
    read_ids,
)
from robustbench_wb.tasks.task import Dataset
from robustbench_wb.text_files import is_file

PREFIX: Final = "folder:"
_OPTIONS: Final = (*GEOMETRY, "border", "labels", *SELECTION)


class FolderTask:
    """Image task of a folder, see ``robustbench_wb.tasks.pictures.listing`` for its forms.

    Options follow the folder: ``;size=224;resize=256;interpolation=bicubic;crop=center`` (``ImageGeometry``),
    ``;labels=FILE`` (table of labels), ``;classes=FILE`` (``read_class_map``; ``imagenet-1k`` is known),
    ``;outputs=present`` (only the classes of the evaluated split are possible answers), ``;outputs=merged`` (a label
    may mean several outputs), ``;border=2`` (pixels that are cut off at each side first), ``;split=val`` and
    ``;ids=FILE`` (evaluated pictures, one path or file name per line). Without a size, pictures of one size keep it,
    and pictures of several sizes become 64 x 64, unless the plan takes the geometry of the first model.

    Raises:
        UsageError: the folder does not exist, or an option is wrong.
    """

    def __init__(self, name: str, geometry: ImageGeometry | None = None) -> None:
        place, self._options = parse_options(name, _OPTIONS)
        place = place.removeprefix(PREFIX)
        self.folder = Path(place).expanduser()
        if not place or not self.folder.is_dir():
            what = "is a file" if is_file(self.folder) else "does not exist"
            raise UsageError(f"task {name!r}: folder {place or '(none)'} {what}", "tasks")
        self._border = border_of(name, self._options)
        self.geometry = geometry_of(name, self._options) or geometry
        kept = [f"{key}={value}" for key, value in self._options.items() if key not in GEOMETRY]
        self.name = PREFIX + ";".join([place, *kept]) + _text(self.geometry)

    def with_geometry(self, geometry: ImageGeometry) -> "FolderTask":
        """Return a task of this folder with a geometry; a task that has a geometry of its own stays as it is."""
        return self if self.geometry is not None else FolderTask(self.name, geometry)

    def load(self, data_dir: str | None) -> Dataset:
        """List the pictures, and read each file that is new or changed; decode nothing.

        With ``outputs`` there is nothing to train on.

        Raises:
            DataError: there are no pictures, a file is no picture, or a label is unknown.
        """
        labels = self._options.get("labels")
        splits = list_splits(self.folder, None if labels is None else Path(labels).expanduser())
        evaluated = self._evaluated(splits)
        classes, outputs = self._classes(splits, evaluated)
        used = {**({} if outputs is not None else splits), "test": splits[evaluated]}
        files = dict.fromkeys(file for split in used.values() for file in split.files)
        manifest = read_manifest(self.folder, list(files))
        geometry = self._used_geometry(list(manifest.values()))
        channels, height, width = shape = _shape(list(manifest.values()), geometry, self._border)
        used["test"] = self._chosen(splits[evaluated])

        def part(split: str, named: str) -> PictureSplit:
            own = used.get(split, LabelledPictures((), ()))
            source = PictureSource(
                folder=self.folder,
                files=own.files,
                digests=[manifest[file].sha256 for file in own.files],
                geometry=geometry,
                shape=shape,
                border=self._border,
            )
            return PictureSplit(source, np.array(classes.numbers(own.labels, f"{self.folder}, {named}"), np.int64))

        return PictureDataset(
            label=self._label(geometry, outputs),
            classes=classes.names,
            train=part("train", "train"),
            test=part("test", evaluated),
            validation=part("validation", "validation") if evaluated == "test" and "validation" in used else None,
            shape=ImageShape(
                channels=channels,
                height=height,
                width=width,
                classes=len(classes.names),
                patch=fitting_patch(height, width),
            ),
            outputs=outputs,
        )

    def _label(self, geometry: ImageGeometry | None, outputs: TakenOutputs | None) -> str:
        """Name of the data in tables: the folder without its path, the split if it is chosen, outputs and geometry."""
        split = f";split={self._options['split']}" if "split" in self._options else ""
        cut = f";border={self._border}" if self._border else ""
        return (self.folder.resolve().name or "folder") + split + _text(outputs) + cut + _text(geometry)

    def _evaluated(self, splits: Mapping[str, LabelledPictures]) -> str:
        """Name of the split to evaluate: that of the options, else the first that exists of ``test``, ``validation``.

        Raises:
            DataError: the folder lacks it.
        """
        wanted = self._options.get("split")
        if wanted is not None:
            split = SPLITS.get(wanted.lower(), wanted)
            if split not in splits:
                raise DataError(f"{self.folder} has the splits {', '.join(splits)}, and no {wanted!r}")
            return split
        found = next((split for split in ("test", "validation") if split in splits), None)
        if found is None:
            raise DataError(f"{self.folder} has a folder for training only; a task needs 'test' or 'val' as well")
        return found

    def _classes(self, splits: Mapping[str, LabelledPictures], evaluated: str) -> tuple[ClassMap, TakenOutputs | None]:
        """Outputs of all labels, and those that are taken if not all are."""
        if self._options.get("outputs") == MERGED:
            return read_merged_classes(self._options["classes"], self._chosen(splits[evaluated]).labels)
        first = splits.get("train") or next(iter(splits.values()))
        every = [label for split in splits.values() for label in split.labels]
        reference = self._options.get("classes")
        if reference is None and first.empty:
            raise DataError(
                f"{self.folder} has class folders without pictures: {', '.join(first.empty)}; classes are numbered in "
                "sorted order, so remove these folders, or say with classes=FILE which output each folder means"
            )
        classes = sorted_classes(first.labels) if reference is None else read_class_map(reference, every)
        if len(classes.names) < 2:
            raise DataError(
                f"{self.folder} has one class only, {classes.names[0]}; name the folder that holds the class folders, "
                "or say with classes=FILE which output it means"
            )
        if "outputs" not in self._options:
            return classes, None
        return classes.present(splits[evaluated].labels, f"{self.folder}, {evaluated}")

    def _used_geometry(self, pictures: Sequence[PictureFile]) -> ImageGeometry | None:
        """Geometry of the task; None if there is none and all pictures have one size."""
        mixed = len({(one.height, one.width) for one in pictures}) > 1
        return self.geometry or (ImageGeometry(size=MIXED_SIZE) if mixed else None)

    def _chosen(self, pictures: LabelledPictures) -> LabelledPictures:
        """Pictures that the file of ids names, in their own order; all if there is no such file.

        Raises:
            DataError: the file cannot be read, or names a picture that is not there or not unique.
        """
        path = self._options.get("ids")
        if path is None:
            return pictures
        places = {file: row for row, file in enumerate(pictures.files)}
        by_name: dict[str, list[int]] = {}
        for file, row in places.items():
            by_name.setdefault(file.rpartition("/")[2], []).append(row)
        rows = set()
        for line in (line.replace("\\", "/") for line in read_ids(path)):
            found = [places[line]] if line in places else by_name.get(line.rpartition("/")[2], [])
            if len(found) != 1:
                problem = "which several folders hold; write its path" if found else f"which {self.folder} lacks"
                raise DataError(f"ids {path} names {line}, {problem}")
            rows.add(found[0])
        kept = sorted(rows)
        return LabelledPictures(tuple(pictures.files[row] for row in kept), tuple(pictures.labels[row] for row in kept))


def _text(part: ImageGeometry | TakenOutputs | None) -> str:
    return "" if part is None else part.text


def _shape(pictures: Sequence[PictureFile], geometry: ImageGeometry | None, border: int) -> tuple[int, int, int]:
    """Channels, height and width of an image; grey pictures have one channel if all are grey.

    Raises:
        DataError: the border is as large as a picture.
    """
    smallest = min(min(one.height, one.width) for one in pictures)
    if smallest <= 2 * border:
        raise DataError(f"a border of {border} pixels leaves nothing of a picture of {smallest} pixels")
    channels = 1 if all(one.grey for one in pictures) else 3
    if geometry is None:
        return channels, pictures[0].height - 2 * border, pictures[0].width - 2 * border
    return channels, geometry.size, geometry.size
