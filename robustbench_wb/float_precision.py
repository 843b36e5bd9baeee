"""Precision of float32 products in torch: an old and a newer interface, whose getters raise once both were used.

Each function takes the module ``torch``, so that importing this one does not import it.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from types import ModuleType
from typing import Any, Final, NamedTuple

CHANGES_NO_NUMBER: Final = "it sets the full precision that every evaluation has, and puts the caller's back"


class Precision(NamedTuple):
    """Precision of float32 products, as it was read; None where torch does not say."""

    general: str | None
    matmul: str | None
    """``highest``, ``high`` or ``medium``."""
    tf32: bool | None
    """Whether convolutions on NVIDIA devices may use TF32."""
    parts: tuple[str, ...]
    """Precision of each kind of operator by the newer interface; empty for a torch without it."""


def read_precision(torch: ModuleType) -> Precision:
    """Read the precision."""
    backends: Any = torch.backends
    return Precision(
        general=_asked(lambda: backends.fp32_precision),
        matmul=_asked(torch.get_float32_matmul_precision),
        tf32=_asked(lambda: backends.cudnn.allow_tf32),
        parts=tuple(part.fp32_precision for part in _parts(torch)),
    )


def _asked(ask: Callable[[], Any]) -> Any:
    """The answer of torch; None if both interfaces were used, or there is no newer one."""
    with suppress(RuntimeError, AttributeError):
        return ask()
    return None


def write_precision(torch: ModuleType, wanted: Precision) -> None:
    """Put back a precision that was read. The old interface comes first, because it also sets the newer one."""
    if wanted.general is not None:
        torch.backends.fp32_precision = wanted.general
    if wanted.matmul is not None:
        torch.set_float32_matmul_precision(wanted.matmul)
    if wanted.tf32 is not None:
        torch.backends.cudnn.allow_tf32 = wanted.tf32
    for part, precision in zip(_parts(torch), wanted.parts, strict=True):
        if part.fp32_precision != precision:
            part.fp32_precision = precision


def exact_float32(torch: ModuleType) -> None:
    """Forbid TF32 and bfloat16 in products of float32 numbers, with which devices multiply with fewer bits."""
    if hasattr(torch.backends, "fp32_precision"):
        torch.backends.fp32_precision = "none"
    torch.set_float32_matmul_precision("highest")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    for part in _parts(torch):
        if part.fp32_precision not in ("none", "ieee"):
            part.fp32_precision = "ieee"


def allow_tf32(torch: ModuleType) -> None:
    """Allow TF32 in products and convolutions of float32 numbers on NVIDIA devices: 10 bits of fraction, not 23."""
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True


def _parts(torch: ModuleType) -> list[Any]:
    """Kinds of operators with a precision of their own."""
    return list(_every_part(torch))


def _every_part(torch: ModuleType) -> Iterator[Any]:
    backends = torch.backends
    owners: tuple[Any, ...] = (backends.cuda, backends.cudnn, backends.mkldnn)
    for owner in owners:
        for name in ("matmul", "conv", "rnn"):
            part = getattr(owner, name, None)
            if hasattr(part, "fp32_precision"):
                yield part
