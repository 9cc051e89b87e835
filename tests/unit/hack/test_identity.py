"""A process is ours by pid, start time and boot, never by pid alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from testcluster import identity

STAT = "42 (a) S (b)) S 1 42 42 0 -1 4194560 1 0 0 0 1 2 0 0 20 0 1 0 {start} 1000 100 18446744073709551615"


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has begun: right after the fork it still has the arguments of its parent."""
    program = "import time; print(flush=True); time.sleep(600)"
    with subprocess.Popen(
        [sys.executable, "-c", program, "word of this test"], stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        yield child
        child.kill()


def fake_proc(folder: Path, *, start: int, state: str = "S") -> Path:
    (folder / "sys/kernel/random").mkdir(parents=True)
    (folder / "sys/kernel/random/boot_id").write_text("boot-1\n")
    (folder / "42").mkdir()
    (folder / "42/stat").write_text(STAT.format(start=start).replace(")) S", f")) {state}"))
    return folder


def test_the_start_time_is_found_behind_a_command_name_with_brackets_and_spaces() -> None:
    assert identity.start_time(STAT.format(start=777)) == 777


def test_a_running_process_is_seen_with_its_start_and_boot(tmp_path: Path) -> None:
    assert identity.observe(42, proc=fake_proc(tmp_path, start=7)) == identity.Process(42, 7, "boot-1")


def test_a_process_that_ended_and_was_not_collected_does_not_run(tmp_path: Path) -> None:
    assert identity.observe(42, proc=fake_proc(tmp_path, start=7, state="Z")) is None


def test_a_pid_that_nobody_has_is_no_process(tmp_path: Path) -> None:
    assert identity.observe(43, proc=fake_proc(tmp_path, start=7)) is None


def test_a_pid_file_comes_back_as_it_was_written() -> None:
    process = identity.Process(42, 7, "boot-1")
    assert identity.decode(process.encode()) == process


@pytest.mark.parametrize(
    "content", [b"", b"42\n", b"{", b"[]", b'{"pid": 42}', b'{"pid":"x","start":1,"boot":"b"}']
)
def test_a_damaged_pid_file_names_nobody(content: bytes) -> None:
    assert identity.decode(content) is None


def test_a_stale_pid_file_never_ends_the_process_that_has_the_number_now(
    sleeper: subprocess.Popen[bytes],
) -> None:
    now = identity.observe(sleeper.pid)
    assert now is not None
    for stale in (replace(now, start=now.start - 1), replace(now, boot="another boot")):
        assert identity.end([stale], grace=0) == []
    assert sleeper.poll() is None


def test_a_process_of_ours_is_ended(sleeper: subprocess.Popen[bytes]) -> None:
    process = identity.observe(sleeper.pid)
    assert process is not None
    assert identity.end([process], grace=5) == []
    assert sleeper.wait() == -signal.SIGTERM


def test_a_process_that_ignores_the_first_signal_is_killed() -> None:
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        process = identity.observe(child.pid)
        assert process is not None
        assert identity.end([process], grace=0.1) == []
        assert child.wait() == -signal.SIGKILL


def test_a_process_is_found_by_whole_arguments_only(sleeper: subprocess.Popen[bytes]) -> None:
    assert [one.pid for one in identity.with_arguments("word of this test")] == [sleeper.pid]
    assert identity.with_arguments("word of this") == []


def test_this_process_finds_itself() -> None:
    found = identity.observe(os.getpid())
    assert found is not None
    assert identity.runs(found)
