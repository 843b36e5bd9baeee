"""Task ``folder-segmentation:DIR``: pictures and their masks in a folder."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError

from robustbench_wb.errors import DataError, UsageError
from robustbench_wb.folders import write_atomic
from robustbench_wb.invalid_fields import first_invalid_field
from robustbench_wb.models.segmentation_shape import VOID
from robustbench_wb.tasks.array_cache import load_or_make_arrays, write_array
from robustbench_wb.tasks.image_decoding import BROKEN
from robustbench_wb.tasks.mask_decoding import MaskFormat
from robustbench_wb.tasks.pictures.decode import decoder_release
from robustbench_wb.tasks.pictures.listing import SPLITS, picture_files
from robustbench_wb.tasks.pictures.task_options import parse_options
from robustbench_wb.tasks.segmentation import SegmentationDataset, load_split, segmentation_split, write_images
from robustbench_wb.tasks.task import Split
from robustbench_wb.text_files import read_text, reason_of

N = TypeVar("N", bound=np.generic)
PREFIX: Final = "folder-segmentation:"
MASK_OPTIONS: Final = ("size", "void", "zero")
"""Options that say how pictures and masks are read."""
_FORMAT: Final = 1  # of the decoded arrays; raise it when decoding changes
_IMAGES: Final = ("images", "image", "imgs", "JPEGImages")
_MASKS: Final = ("masks", "mask", "annotations", "labels", "SegmentationClass")


class _Pair(NamedTuple):
    """An image and its mask."""

    image: Path
    mask: Path


class SegmentationFolderTask:
    """Segmentation task of a folder that has a folder of images and a folder of masks.

    Images are in ``images``, ``imgs`` or ``JPEGImages``, masks in ``masks``, ``annotations``, ``labels`` or
    ``SegmentationClass``; a mask has the name of its image but for the ending, and the class number as the value of
    each pixel. Splits are folders of both (``images/train``, ``masks/train``), or folders that hold both
    (``train/images``, ``train/masks``); without such folders there is one split, ``test``.

    Options follow the folder: ``;size=64`` (side to which images and masks are scaled), ``;void=255`` (number of pixels
    that do not count), ``;zero=void`` (0 does not count and 1 is the first class, as in ADE20K), ``;classes=FILE`` (one
    name per line) and ``;split=val`` (the evaluated split).

    Raises:
        UsageError: the folder does not exist, or an option is wrong.
    """

    like = "folder-segmentation"
    suite = "adversarial-segmentation"

    def __init__(self, name: str) -> None:
        place, self._options = parse_options(name, (*MASK_OPTIONS, "classes", "split"))
        place = place.removeprefix(PREFIX)
        self.folder = Path(place).expanduser()
        if not place or not self.folder.is_dir():
            raise UsageError(f"task {name!r}: folder {place or '(none)'} does not exist", "tasks")
        self.format = mask_format(name, self._options, MaskFormat())
        self.name = name

    def load(self, data_dir: str | None) -> SegmentationDataset:
        """Decode all images and masks, or read them from the cache; ``data_dir`` is ignored.

        Raises:
            DataError: images or masks are missing, cannot be decoded, or have numbers beyond the classes.
        """
        pairs = _splits(self.folder)
        wanted = self._options.get("split")
        order = ("test", "validation") if wanted is None else (SPLITS.get(wanted.lower(), wanted),)
        evaluated = next((split for split in order if split in pairs), None)
        if evaluated is None:
            raise DataError(f"{self.folder} has the splits {', '.join(pairs)}, and no {wanted or 'test or val'}")
        test, train = self._decoded(pairs[evaluated]), self._decoded(pairs.get("train", []))
        names = self._class_names([test, train])
        label = self.folder.resolve().name or "folder"
        chosen = [f"{key}={value}" for key, value in sorted(self._options.items()) if key != "classes"]
        return SegmentationDataset(
            label=";".join([label, *chosen]),
            classes=names,
            train=train,
            test=test,
            shape=self.format.shape(len(names)),
        )

    def _decoded(self, pairs: Sequence[_Pair]) -> Split:
        """Images and masks of a split, mapped from files in the cache."""
        size = self.format.size
        if not pairs:
            return segmentation_split(np.zeros((0, 3, size, size), np.uint8), np.zeros((0, size, size), np.int16))
        digests = [hashlib.sha256(path.read_bytes()).hexdigest() for pair in pairs for path in pair]
        key = {"format": _FORMAT, "files": digests, "masks": self.format, "decoder": decoder_release()}

        def fill(folder: Path) -> dict[str, int]:
            images = _each_decoded((pair.image for pair in pairs), "picture", self.format.image)
            write_atomic(folder / "images.npy", lambda path: write_images(path, images, count=len(pairs), size=size))
            masks = _each_decoded((pair.mask for pair in pairs), "mask", self.format.mask)
            write_array(folder / "masks.npy", np.stack(list(masks)))
            return {"pictures": len(pairs)}

        def read(folder: Path, card: object) -> Split:
            return load_split(folder, "")

        return load_or_make_arrays(key, str(self.folder), "decode", fill=fill, read=read)

    def _class_names(self, splits: Sequence[Split]) -> tuple[str, ...]:
        """Names of the file of classes, else the numbers up to the largest in a mask.

        Raises:
            DataError: the file cannot be read.
        """
        reference = self._options.get("classes")
        if reference is None:
            largest = max(int(split.labels.max(initial=VOID)) for split in splits)
            return tuple(str(number) for number in range(max(largest, 0) + 1))
        path = Path(reference).expanduser()
        try:
            return tuple(line.strip() for line in read_text(path).splitlines() if line.strip())
        except (OSError, ValueError) as error:
            raise DataError(f"classes {path} cannot be read: {reason_of(error)}") from error


def mask_format(name: str, options: Mapping[str, str], default: MaskFormat) -> MaskFormat:
    """Format of masks that the options of a task say; ``default`` holds what they leave open.

    Raises:
        UsageError: a value is wrong.
    """
    if options.get("zero", "void") != "void":
        raise UsageError(f"task {name!r}: zero can only be void; leave it out where 0 is a class", "tasks")
    given: dict[str, object] = {key: options[key] for key in ("size", "void") if key in options}
    try:
        more = {"zero_is_void": True} if "zero" in options else {}
        return MaskFormat.model_validate({**default.model_dump(), **given, **more})
    except ValidationError as error:
        raise UsageError(f"task {name!r}: {first_invalid_field(error, MaskFormat)}", "tasks") from None


def _splits(folder: Path) -> dict[str, list[_Pair]]:
    """Pairs of each split of a folder, sorted by name.

    Raises:
        DataError: the folder has no folders of images and masks, or an image has no mask.
    """
    images, masks = _inside(folder, _IMAGES), _inside(folder, _MASKS)
    if images is not None and masks is not None:
        below = {part.name: part for part in sorted(images.iterdir()) if part.is_dir() and part.name.lower() in SPLITS}
        if not below:
            return {"test": _pairs(images, masks)}
        return {SPLITS[name.lower()]: _pairs(part, masks / name) for name, part in below.items()}
    found = {}
    for part in sorted(part for part in folder.iterdir() if part.is_dir() and part.name.lower() in SPLITS):
        images, masks = _inside(part, _IMAGES), _inside(part, _MASKS)
        if images is not None and masks is not None:
            found[SPLITS[part.name.lower()]] = _pairs(images, masks)
    if not found:
        raise DataError(f"{folder} has no folders 'images' and 'masks', alone or in folders of splits")
    return found


def _inside(folder: Path, names: Sequence[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_dir()), None)


def _pairs(images: Path, masks: Path) -> list[_Pair]:
    by_stem: dict[str, Path] = {}
    for path in picture_files(masks):
        if (other := by_stem.setdefault(_stem(path, masks), path)) != path:
            raise DataError(f"{other} and {path} are masks of one image; remove one of them")
    found = []
    for image in picture_files(images):
        mask = by_stem.get(_stem(image, images))
        if mask is None:
            raise DataError(f"image {image} has no mask in {masks}")
        found.append(_Pair(image, mask))
    if not found:
        raise DataError(f"{images} has no pictures")
    return found


def _stem(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()


def _each_decoded(
    paths: Iterable[Path], what: str, decode: Callable[[Image.Image], NDArray[N]]
) -> Iterator[NDArray[N]]:
    for path in paths:
        try:
            with Image.open(path) as picture:
                yield decode(picture)
        except BROKEN as error:
            raise DataError(f"{what} {path} cannot be decoded: {error}") from error
