"""Checkpoints in the cache that machines share. The first one of a training is kept, and measured by all machines."""

import json
import logging
from pathlib import Path
from uuid import uuid4

from robustbench_wb.errors import CheckpointError
from robustbench_wb.folders import write_atomic
from robustbench_wb.models.weights import weights_digest
from robustbench_wb.shared_cache import SharedCache, shared_cache
from robustbench_wb.training.checkpoint import CheckpointCard, load_checkpoint, load_tensors

_log = logging.getLogger(__name__)


def fetch_checkpoint(path: Path) -> None:
    """Copy the checkpoint that belongs at ``path``, and its card, from the shared cache, if both are there.

    Raises:
        StoreError: the shared cache cannot be read.
    """
    shared = shared_cache()
    if shared is not None:
        _fetch(shared, path)


def share_checkpoint(path: Path) -> None:
    """Copy the checkpoint at ``path`` to the shared cache; if one is there, replace the one at ``path`` by it.

    The tensors are named by their digest, so that a card never belongs to the tensors of another training.

    Raises:
        StoreError: the shared cache cannot be read or written.
    """
    shared = shared_cache()
    if shared is None or _fetch(shared, path):
        return
    own = load_checkpoint(path)
    if own is not None:
        shared.share(path, _tensors(path, own[1]))
        shared.write(_card(path), path.with_suffix(".json").read_bytes())


def _fetch(shared: SharedCache, path: Path) -> bool:
    """Whether a whole checkpoint was found and copied; a damaged one counts as missing."""
    content = shared.read(_card(path))
    if content is None:
        return False
    copy = path.with_name(f".tmp-{uuid4().hex}{path.suffix}")
    try:
        card = CheckpointCard.model_validate(json.loads(content))
        if shared.fetch(_tensors(path, card), copy) and weights_digest(load_tensors(copy)) == card.weights:
            copy.replace(path)
            write_atomic(path.with_suffix(".json"), lambda temporary: temporary.write_bytes(content))
            return True
    except (ValueError, CheckpointError):
        _log.debug("a damaged checkpoint", exc_info=True)
    finally:
        copy.unlink(missing_ok=True)
    _log.warning("%s at %s is damaged and counts as missing", _card(path), shared.location)
    return False


def _card(path: Path) -> str:
    return f"checkpoints/{path.stem}.json"


def _tensors(path: Path, card: CheckpointCard) -> str:
    return f"checkpoints/{path.stem}-{card.weights}.safetensors"
