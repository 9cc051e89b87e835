"""Files that a command writes: all or none, private, and never through what somebody put in their way."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mtls_operator.cli.cert.listing import Row, chosen
from mtls_operator.cli.errors import Unanswered
from mtls_operator.cli.files import write_all

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_nothing_is_written_when_one_file_is_there(tmp_path: Path) -> None:
    (tmp_path / "b").write_text("old")
    with pytest.raises(Unanswered, match="b: exists already"):
        write_all({tmp_path / "a": b"1", tmp_path / "b": b"2"}, overwrite=False)
    assert [file.name for file in tmp_path.iterdir()] == ["b"]
    assert (tmp_path / "b").read_text() == "old"


def test_nothing_is_left_when_a_folder_is_missing(tmp_path: Path) -> None:
    with pytest.raises(Unanswered, match="No such file"):
        write_all({tmp_path / "a": b"1", tmp_path / "none/b": b"2"}, overwrite=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("overwrite", [False, True])
def test_files_are_for_their_owner_whatever_the_mask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, overwrite: bool
) -> None:
    monkeypatch.setattr("os.umask", lambda _: 0)
    write_all({tmp_path / "a": b"1"}, overwrite=overwrite)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600


def _row(name: str, state: str, end: timedelta | None) -> Row:
    status: dict[str, Any] = {"state": state}
    if end is not None:
        status["notAfter"] = (NOW + end).isoformat()
    return Row.of({"metadata": {"namespace": "shop", "name": name}, "status": status})


ROWS = [
    _row("late", "Active", timedelta(days=90)),
    _row("soon", "Active", timedelta(days=20)),
    _row("ended", "Expired", timedelta(days=-1)),
    _row("revoked", "Revoked", timedelta(days=1)),
    _row("none", "Pending", None),
]


def test_what_ends_first_is_listed_first() -> None:
    names = [row.name for row in chosen(ROWS, within=None, now=NOW)]
    assert names == ["ended", "revoked", "soon", "late", "none"]


def test_expiring_means_still_valid_and_ending_soon() -> None:
    assert [row.name for row in chosen(ROWS, within=timedelta(days=30), now=NOW)] == ["soon"]
