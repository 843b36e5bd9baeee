"""Fixtures: a writer of mirrors, and cache folders of each test."""

from pathlib import Path
from typing import Any

import pytest

from tests.tasks.hub_layout import Write


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write splits as parquet files: ``write("owner/name", train=rows, test=rows)``."""

    def make(folder: str, **splits: Any) -> Path:
        target = tmp_path / "mirror" / folder / "data"
        target.mkdir(parents=True)
        for split, part in splits.items():
            part.to_parquet(target / f"{split}-00000-of-00001.parquet")
        return tmp_path / "mirror"

    return make


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RBWB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("RBWB_DATA_DIR", raising=False)
