"""Starting programs: output captured, failures as typed errors, files locked and replaced whole."""

from __future__ import annotations

import fcntl
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from testcluster.errors import CommandError


def run(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    timeout: float | None = None,
) -> str:
    """Run a program to its end and return what it printed, standard error included.

    Raises:
        CommandError: it could not be started, ended with another code than 0, or took more than ``timeout`` seconds.
    """
    words = tuple(str(word) for word in argv)
    try:
        done = subprocess.run(
            words,
            cwd=cwd,
            env=environment,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError as error:
        raise CommandError(words, 127, str(error)) from error
    except subprocess.TimeoutExpired as error:
        output = (error.stdout or b"").decode(errors="replace")
        raise CommandError(words, 124, f"{output}\nno end after {timeout} s") from error
    output = done.stdout.decode(errors="replace")
    if done.returncode != 0:
        raise CommandError(words, done.returncode, output)
    return output


def succeeds(argv: Sequence[str | Path], *, timeout: float = 30) -> bool:
    """Tell whether a program ends with code 0 in time."""
    try:
        run(argv, timeout=timeout)
    except CommandError:
        return False
    return True


@contextmanager
def locked(path: Path, *, waiting: str) -> Iterator[None]:
    """Hold the lock of a file; print ``waiting`` first when somebody else holds it. A crash releases it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(waiting, flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def write_whole(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Replace a file so that a reader sees the old or the new content, never a part; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
