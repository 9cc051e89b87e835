"""Image archives: the layout that container runtimes import, and the same bytes for the same content."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path

import pytest
from testcluster import images
from testcluster.archive import Entry, Image, Runtime, folder_entries, write_image, write_layer
from testcluster.errors import ClusterError

NAME = "mtls-operator.dev/thing:dev"


def image(folder: Path, content: bytes = b"x") -> Image:
    layer = folder / "layer.tar"
    write_layer(layer, [Entry("bin/thing", 0o755, content=content)])
    return write_image(
        folder / "images", NAME, [layer], Runtime(("/bin/thing",), environment={"B": "2", "A": "1"})
    )


def members(file: Path) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(file) as archive:
        return {member.name: member for member in archive.getmembers()}


def read(file: Path, name: str) -> bytes:
    with tarfile.open(file) as archive:
        found = archive.extractfile(name)
        assert found is not None
        return found.read()


def test_the_manifest_names_a_configuration_and_layers_that_are_there(tmp_path: Path) -> None:
    built = image(tmp_path)
    (manifest,) = json.loads(read(built.file, "manifest.json"))
    assert manifest["RepoTags"] == [NAME]
    assert {manifest["Config"], *manifest["Layers"]} <= members(built.file).keys()


def test_the_configuration_lists_the_digest_of_each_layer(tmp_path: Path) -> None:
    built = image(tmp_path)
    config = json.loads(read(built.file, f"{built.digest}.json"))
    layer = hashlib.sha256((tmp_path / "layer.tar").read_bytes()).hexdigest()
    assert config["rootfs"] == {"type": "layers", "diff_ids": [f"sha256:{layer}"]}


def test_an_image_runs_as_nobody_in_particular_unless_told_otherwise(tmp_path: Path) -> None:
    built = image(tmp_path)
    config = json.loads(read(built.file, f"{built.digest}.json"))["config"]
    assert config["User"] == "65532:65532"
    assert config["Env"] == ["A=1", "B=2", "PATH=/usr/local/bin:/usr/bin:/bin"]


def test_the_same_content_makes_the_same_bytes(tmp_path: Path) -> None:
    first, second = image(tmp_path / "a"), image(tmp_path / "b")
    assert first.digest == second.digest
    assert first.file.read_bytes() == second.file.read_bytes()


def test_changed_content_replaces_the_older_archive_of_the_name(tmp_path: Path) -> None:
    first, second = image(tmp_path), image(tmp_path, b"y")
    assert first.digest != second.digest
    assert [path.name for path in (tmp_path / "images").iterdir()] == [second.file.name]


def test_a_layer_is_sorted_has_its_folders_and_belongs_to_root(tmp_path: Path) -> None:
    layer = tmp_path / "layer.tar"
    write_layer(layer, [Entry("z", content=b""), Entry("a/b/c", link="../z"), Entry("tmp", 0o1777)])
    found = members(layer)
    assert list(found) == ["a", "a/b", "a/b/c", "tmp", "z"]
    assert (found["tmp"].mode, found["a/b/c"].linkname) == (0o1777, "../z")
    assert {(one.uid, one.gid, one.mtime) for one in found.values()} == {(0, 0, 0)}


def test_setuid_programs_of_a_folder_lose_the_bit(tmp_path: Path) -> None:
    program = tmp_path / "root" / "su"
    program.parent.mkdir()
    program.write_bytes(b"")
    program.chmod(0o4755)
    (entry,) = folder_entries(tmp_path / "root", prefix="/usr/bin")
    assert (entry.path, entry.mode) == ("usr/bin/su", 0o755)


def test_a_layer_that_cannot_be_finished_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_layer(tmp_path / "layers" / "layer.tar", [Entry("x", content=tmp_path / "missing")])
    assert list((tmp_path / "layers").iterdir()) == []


def test_libraries_are_read_from_ldd() -> None:
    output = (
        "\tlinux-vdso.so.1 (0x00007f0000000000)\n"
        "\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f1)\n"
        "\t/lib64/ld-linux-x86-64.so.2 (0x00007f2)\n"
    )
    assert images.libraries(output) == ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]


def test_a_missing_library_stops_the_build() -> None:
    with pytest.raises(ClusterError, match=r"libfoo\.so\.1"):
        images.libraries("\tlibfoo.so.1 => not found\n")
