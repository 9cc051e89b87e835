"""Files that commands write: never over something that is there unless that is wanted, never through a link."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from mtls_operator.cli.errors import Unanswered

PRIVATE: Final = 0o600
PUBLIC: Final = 0o644


def write_all(files: Mapping[Path, bytes], *, mode: int = PRIVATE, overwrite: bool) -> None:
    """Write all files or none; each is new, with this mode, whatever stood there.

    Raises:
        Unanswered: one is there already and may not be overwritten, or cannot be written.
    """
    if not overwrite:
        there = [str(path) for path in files if path.exists() or path.is_symlink()]
        if there:
            raise Unanswered(f"{', '.join(there)}: exists already; --force overwrites it")
    fresh = {path: path.with_name(f".{path.name}.{secrets.token_hex(8)}") for path in files}
    try:
        for path, data in files.items():
            _create(fresh[path], data, mode)
        for path in files:
            if overwrite:
                fresh[path].replace(path)
            else:
                os.link(fresh[path], path)
                fresh[path].unlink()
    except OSError as error:
        raise Unanswered(f"{error.filename or 'file'}: {error.strerror}") from error
    finally:
        for path in fresh.values():
            with suppress(OSError):
                path.unlink()


def make_folder(folder: Path) -> None:
    """Make a folder that only its owner can look into; one that is there stays as it is.

    Raises:
        Unanswered: it cannot be made.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Unanswered(f"{folder}: {error.strerror}") from error


def _create(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(data)
