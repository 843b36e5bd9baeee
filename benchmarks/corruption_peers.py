"""The package imagecorruptions, made to run beside today's numpy, scipy, scikit-image and setuptools.

Its release 1.1.2 asks for names that these have removed. Each is put back as what it was, and nothing else is changed.
"""

import sys
import types
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.analysis.curves.alexnet import COMMON, ERRORS

Peer = Callable[[NDArray[np.uint8], int], NDArray[np.uint8]]
"""From one image (H, W, 3) and a severity to the corrupted image."""

VALIDATION = tuple(name for name in ERRORS if name not in COMMON)
"""The four that are in no mean."""


def peers() -> dict[str, Peer]:
    """Every corruption of the library."""
    _put_back()
    from imagecorruptions import corrupt

    warnings.filterwarnings("ignore", category=RuntimeWarning, module="imagecorruptions")  # a spatter without a drop

    def peer(name: str) -> Peer:
        def run(image: NDArray[np.uint8], severity: int) -> NDArray[np.uint8]:
            found: NDArray[np.uint8] = corrupt(image, severity=severity, corruption_name=name.replace("-", "_"))
            return found

        return run

    return {name: peer(name) for name in COMMON + VALIDATION}


def _put_back() -> None:
    import scipy.ndimage
    import skimage.filters

    def resource_filename(package: str, path: str) -> str:
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(package)
        return str(Path(spec.origin).parent / path)

    resources: Any = types.ModuleType("pkg_resources")
    resources.resource_filename = resource_filename
    sys.modules.setdefault("pkg_resources", resources)
    interpolation: Any = types.ModuleType("scipy.ndimage.interpolation")
    interpolation.map_coordinates = scipy.ndimage.map_coordinates
    sys.modules.setdefault("scipy.ndimage.interpolation", interpolation)
    numpy: Any = np
    numpy.float_ = np.float64

    new = skimage.filters.gaussian

    def gaussian(image: Any, sigma: float = 1, *, multichannel: bool = False, **others: Any) -> Any:
        return new(image, sigma, channel_axis=-1 if multichannel else None, **others)

    skimage.filters.gaussian = gaussian
