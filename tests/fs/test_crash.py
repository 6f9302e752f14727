"""A process killed after any step leaves the old state or the new one, and the next run works."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelkeep.fs import durable
from modelkeep.fs.links import Linker, LinkMode
from tests.fs.crash import kill_at, steps_of
from tests.fs.looking import names

PUBLISH = """
import sys; from pathlib import Path; from modelkeep.fs import durable
part, final = map(Path, sys.argv[1:])
part.write_bytes(b"content" * 1000)
durable.publish(part, final)
"""
WRITE = """
import sys; from pathlib import Path; from modelkeep.fs import durable
durable.write_bytes(Path(sys.argv[1]), b"new" * 1000)
"""
APPEND = """
import sys; from pathlib import Path; from modelkeep.fs import durable
durable.append_line(Path(sys.argv[1]), "second")
"""
PLACE = """
import sys; from pathlib import Path; from modelkeep.fs.links import Linker, LinkMode
source, target, mode = sys.argv[1:]
Linker([LinkMode(mode)]).place(Path(source), Path(target), replace=True)
"""

PUBLISH_STEPS = ["publish:sealed", "publish:linked", "publish:synced", "publish:done"]
WRITE_STEPS = ["write:written", "write:renamed", "write:done"]
APPEND_STEPS = ["append:written", "append:done"]
PLACE_STEPS = ["place:built", "place:done"]


@pytest.mark.parametrize(
    ("script", "arguments", "steps"),
    [
        (PUBLISH, ("part", "final"), PUBLISH_STEPS),
        (WRITE, ("file",), WRITE_STEPS),
        (APPEND, ("lines",), APPEND_STEPS),
    ],
)
def test_the_steps_below_are_all_there_are(
    script: str, arguments: tuple[str, ...], steps: list[str], tmp_path: Path
) -> None:
    paths = [tmp_path / name for name in arguments]

    assert steps_of(script, *paths, log=tmp_path / "log") == steps


@pytest.mark.parametrize("step", PUBLISH_STEPS)
def test_killed_while_publishing(step: str, tmp_path: Path) -> None:
    part, final = tmp_path / "part", tmp_path / "blob"

    kill_at(step, PUBLISH, part, final)

    named = step != "publish:sealed"
    assert final.exists() is named
    if named:
        assert final.read_bytes() == b"content" * 1000
    again = tmp_path / "again"
    again.write_bytes(b"content" * 1000)
    assert durable.publish(again, final) is not named
    if part.exists():
        assert durable.publish(part, final) is False
    assert final.read_bytes() == b"content" * 1000
    assert final.stat().st_nlink == 1


@pytest.mark.parametrize("step", WRITE_STEPS)
def test_killed_while_writing(step: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    kill_at(step, WRITE, path)

    assert path.read_bytes() == (b"old" if step == "write:written" else b"new" * 1000)
    durable.write_bytes(path, b"later")
    assert path.read_bytes() == b"later"


@pytest.mark.parametrize("step", APPEND_STEPS)
def test_killed_while_appending(step: str, tmp_path: Path) -> None:
    path = tmp_path / "lines"
    durable.append_line(path, "first")

    kill_at(step, APPEND, path)
    durable.append_line(path, "third")

    assert path.read_text() == "first\nsecond\nthird\n"


@pytest.mark.parametrize("step", PLACE_STEPS)
@pytest.mark.parametrize("mode", [LinkMode.HARDLINK, LinkMode.SYMLINK, LinkMode.COPY])
def test_killed_while_placing(mode: LinkMode, step: str, tmp_path: Path) -> None:
    source, cache = tmp_path / "blob", tmp_path / "cache"
    cache.mkdir()
    source.write_bytes(os.urandom(2 << 20))
    target = cache / "etag"
    target.write_bytes(b"old")

    kill_at(step, PLACE, source, target, mode)

    assert target.read_bytes() == (b"old" if step == "place:built" else source.read_bytes())
    strangers = names(cache) - {"etag"}
    assert all(name.startswith(".modelkeep-") for name in strangers)
    Linker([mode]).place(source, target, replace=True)
    assert target.read_bytes() == source.read_bytes()
