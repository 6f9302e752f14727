"""Nobody waits for a file system that does not answer, and the others are asked all the same."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from modelkeep.fs.answering import Patience, ask
from tests.filesystems import need_root, unavailable

PATIENT = Patience((), local_s=60)


def look(path: str) -> int:
    try:
        return Path(path).stat().st_ino
    except OSError:
        return -1


@contextmanager
def dead_mount(point: Path) -> Iterator[Path]:
    """A FUSE mount whose daemon never says a word."""
    need_root()
    point.mkdir()
    try:
        device = os.open("/dev/fuse", os.O_RDWR)
    except OSError as error:
        unavailable(f"/dev/fuse: {error}")
    try:
        options = f"fd={device},rootmode=40000,user_id=0,group_id=0"
        command = ["mount", "-i", "-t", "fuse", "-o", options, "dead", str(point)]
        done = subprocess.run(command, pass_fds=[device], capture_output=True, text=True)
        if done.returncode != 0:
            unavailable(f"mount -t fuse: {done.stderr}")
        yield point
    finally:
        subprocess.run(["umount", "-l", point], check=False, capture_output=True)
        os.close(device)


def test_answers_come_with_their_questions(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    paths = [str(tmp_path / "file"), str(tmp_path / "none")]
    found = list(ask(paths, look, PATIENT))
    assert found == [(paths[0], (tmp_path / "file").stat().st_ino), (paths[1], -1)]
    assert list(ask([], look, PATIENT)) == []


def test_long_answers_arrive_whole() -> None:
    ((_, answer),) = ask(["x"], lambda text: text * 1_000_000, PATIENT)
    assert answer == "x" * 1_000_000


def test_a_question_that_ends_the_child_is_unanswered_and_the_next_is_not() -> None:
    def reply(text: str) -> str:
        if text == "bad":
            os._exit(1)
        return text

    found = list(ask(["good", "bad", "better"], reply, PATIENT))
    assert found == [("good", "good"), ("bad", None), ("better", "better")]


@pytest.mark.real
def test_a_dead_mount_costs_its_patience_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    inode = (tmp_path / "file").stat().st_ino
    with dead_mount(tmp_path / "dead") as dead:
        paths = [
            str(dead / "hub"),
            *(str(dead / f"{n}") for n in range(99)),
            str(tmp_path / "file"),
        ]
        begun = time.monotonic()
        found = dict(ask(paths, look, Patience(shared_s=0.3, local_s=60)))
        assert 0.3 <= time.monotonic() - begun < 0.3 * 99
    assert found == {**dict.fromkeys(paths), paths[-1]: inode}
