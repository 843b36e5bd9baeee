"""The package imagecorruptions, patched to run with current releases of numpy, scipy, scikit-image and setuptools.

Release 1.1.2 uses names that these packages have removed. Each name is restored, and nothing else is changed.
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
"""Function from one image (H, W, 3) and a severity in 1..5 to the corrupted image."""

VALIDATION = tuple(name for name in ERRORS if name not in COMMON)
"""The four corruptions for tuning, which are in no mean corruption error."""


def peer_corruptions() -> dict[str, Peer]:
    """All corruptions of the library, by name."""
    _restore_removed_names()
    from imagecorruptions import corrupt

    warnings.filterwarnings("ignore", category=RuntimeWarning, module="imagecorruptions")  # spatter without any drop

    def peer(name: str) -> Peer:
        def run(image: NDArray[np.uint8], severity: int) -> NDArray[np.uint8]:
            found: NDArray[np.uint8] = corrupt(image, severity=severity, corruption_name=name.replace("-", "_"))
            return found

        return run

    return {name: peer(name) for name in COMMON + VALIDATION}


def _restore_removed_names() -> None:
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
