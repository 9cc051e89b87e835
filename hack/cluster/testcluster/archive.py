"""Container images as files, without Docker: deterministic layers and the ``docker save`` archive layout.

An archive is a tar with ``manifest.json``, one configuration and the layers, which every container runtime imports.
The same content gives the same bytes: names sorted, times zero, owner root.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import stat
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from testcluster.errors import ClusterError

_MACHINES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
_CREATED: Final = "1970-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Entry:
    """One member of a layer: a file with content or from a path, a symbolic link, or (neither) a folder."""

    path: str
    mode: int = 0o644
    content: bytes | Path | None = None
    link: str | None = None


@dataclass(frozen=True, slots=True)
class Runtime:
    """How a container of the image starts."""

    entrypoint: tuple[str, ...]
    command: tuple[str, ...] = ()
    user: str = "65532:65532"
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: str = "/"


@dataclass(frozen=True, slots=True)
class Image:
    """An image archive: the name it is loaded under, its file, and the digest that identifies its content."""

    name: str
    file: Path
    digest: str


def architecture() -> str:
    """Return this machine's architecture in the words of container images.

    Raises:
        ClusterError: images are not built here for this kind of machine.
    """
    machine = platform.machine()
    if machine not in _MACHINES:
        raise ClusterError(f"no images are built here for {machine}: only for {', '.join(sorted(_MACHINES))}")
    return _MACHINES[machine]


def write_layer(target: Path, entries: Iterable[Entry]) -> None:
    """Write a layer whole or not at all; the folders on the way to an entry are added."""
    members = {entry.path.strip("/"): entry for entry in entries}
    for path in list(members):
        for parent in Path(path).parents:
            if str(parent) != ".":
                members.setdefault(str(parent), Entry(str(parent), 0o755))
    with _whole(target) as file, tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as layer:
        for path in sorted(members):
            _add(layer, path, members[path])


def folder_entries(root: Path, *, prefix: str = "") -> list[Entry]:
    """Return everything in a folder as entries; other kinds than files, folders and links are left out."""
    found = []
    for path in sorted(root.rglob("*")):
        inside = f"{prefix}/{path.relative_to(root)}".strip("/")
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            found.append(Entry(inside, 0o777, link=str(path.readlink())))
        elif stat.S_ISDIR(status.st_mode):
            found.append(Entry(inside, stat.S_IMODE(status.st_mode)))
        elif stat.S_ISREG(status.st_mode):
            # setuid and setgid programs have no place in our images
            found.append(Entry(inside, stat.S_IMODE(status.st_mode) & 0o1777, content=path))
    return found


def write_image(folder: Path, name: str, layers: Iterable[Path], runtime: Runtime) -> Image:
    """Write the archive of an image into a folder, unless it is there; older archives of the name are removed."""
    files = tuple(layers)
    digests = tuple(_file_digest(layer) for layer in files)
    config = configuration(digests, runtime, machine=architecture())
    digest = hashlib.sha256(config).hexdigest()
    stem = name.replace("/", "_").replace(":", "_")
    target = folder / f"{stem}-{digest[:16]}.tar"
    if not target.exists():
        with _whole(target) as file, tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as image:
            for path, content in archive_members(name, config, zip(digests, files, strict=True)):
                _add(image, path, Entry(path, content=content))
    for older in folder.glob(f"{stem}-*.tar"):
        if older != target:
            older.unlink()
    return Image(name, target, digest)


def archive_members(
    name: str, config: bytes, layers: Iterable[tuple[str, Path]]
) -> list[tuple[str, bytes | Path]]:
    """Return the members of an image archive in order; two equal layers are stored once."""
    listed = list(layers)
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = [
        {"Config": config_name, "Layers": [f"{digest}.tar" for digest, _ in listed], "RepoTags": [name]}
    ]
    members: dict[str, bytes | Path] = {f"{digest}.tar": file for digest, file in listed}
    members[config_name] = config
    members["manifest.json"] = json.dumps(manifest, sort_keys=True).encode()
    return list(members.items())


def configuration(digests: Iterable[str], runtime: Runtime, *, machine: str) -> bytes:
    """Return the image configuration (OCI image specification, config.md) as canonical JSON."""
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", **runtime.environment}
    document: dict[str, Any] = {
        "architecture": machine,
        "created": _CREATED,
        "os": "linux",
        "config": {
            "Cmd": list(runtime.command),
            "Entrypoint": list(runtime.entrypoint),
            "Env": [f"{key}={value}" for key, value in sorted(environment.items())],
            "User": runtime.user,
            "WorkingDir": runtime.folder,
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]},
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _add(archive: tarfile.TarFile, path: str, entry: Entry) -> None:
    member = tarfile.TarInfo(path)
    member.mode = entry.mode
    if entry.link is not None:
        member.type = tarfile.SYMTYPE
        member.linkname = entry.link
        archive.addfile(member)
    elif entry.content is None:
        member.type = tarfile.DIRTYPE
        archive.addfile(member)
    elif isinstance(entry.content, bytes):
        member.size = len(entry.content)
        archive.addfile(member, io.BytesIO(entry.content))
    else:
        member.size = entry.content.stat().st_size
        with entry.content.open("rb") as content:
            archive.addfile(member, content)


@contextmanager
def _whole(target: Path) -> Iterator[io.BufferedWriter]:
    """Open a new file that appears under its name only when the block ends without an error."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        Path(name).chmod(0o644)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
