"""Checkpoint files that change while somebody reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from dnlbench.store.checkpoint_files import CheckpointFiles


def test_the_record_of_the_earlier_checkpoint_may_vanish_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, exists = CheckpointFiles(tmp_path), Path.exists
    files.save(b"one")
    files.save(b"two")

    def vanishing(path: Path, **options: bool) -> bool:
        found = exists(path, **options)
        if path.name == "checkpoint.previous.pt.sha256":
            path.unlink(missing_ok=True)  # by the worker, right after somebody has seen it
        return found

    monkeypatch.setattr(Path, "exists", vanishing)
    assert files.last() == b"two"
    (tmp_path / "checkpoint.previous.pt.sha256").unlink(missing_ok=True)
    assert files.last() == b"two"
