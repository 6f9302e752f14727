"""An adopted cache is given back as it was, and nothing that came since is touched."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

from modelkeep.errors import ModelkeepError, NotFoundError
from modelkeep.keep import Keep
from tests import forks
from tests.adopt.conftest import COMMON, IN_A, ONLY_A
from tests.adopt.support import adopt, loads, shares_nothing, undo
from tests.caches import Revision, digest, etag, picture, write
from tests.models import random_bytes


def test_undo_gives_both_back_bit_for_bit(keep: Keep, a: Path, b: Path) -> None:
    before = [picture(a), picture(b)]
    adopt(keep, a, b)

    undo(keep, a, b)

    assert [picture(a), picture(b)] == before
    assert shares_nothing(keep, a)
    assert shares_nothing(keep, b)
    assert [root.id for root in keep.store.roots] == ["hub"]
    with pytest.raises(NotFoundError):
        keep.plan_undo()


def test_undo_alone_means_the_latest(keep: Keep, a: Path, b: Path) -> None:
    before = picture(b)
    adopt(keep, a)
    after_a = picture(a)
    adopt(keep, b)

    (undone,) = undo(keep)

    assert undone.cache == b
    assert picture(b) == before
    assert picture(a) == after_a


def test_undo_goes_back_over_several_adoptions(keep: Keep, a: Path) -> None:
    before = picture(a)
    adopt(keep, a)
    later = Revision("org/later", {"model.safetensors": random_bytes(1_500_000, 9)})
    write(a, later)
    with_later = picture(a / later.folder)
    adopt(keep, a)

    assert len(undo(keep, a)) == 2

    assert picture(a / later.folder) == with_later
    shutil.rmtree(a / later.folder)
    os.utime(a, ns=(1, before.paths["."][-1]))  # type: ignore[arg-type]
    assert picture(a) == before


def test_names_of_one_inode_stay_names_of_one_inode(keep: Keep, tmp_path: Path) -> None:
    cache = write(tmp_path / "c", IN_A[0], Revision("org/x", {"model.safetensors": COMMON}))
    first, second = cache.glob(f"*/blobs/{etag(COMMON)}")
    second.unlink()
    second.hardlink_to(first)
    before = picture(cache)
    adopt(keep, cache)

    undo(keep, cache)

    assert picture(cache) == before
    assert first.samefile(second)


def test_what_was_removed_or_replaced_since_is_told_and_left(keep: Keep, a: Path) -> None:
    adopt(keep, a)
    first, second = (next(a.glob(f"*/blobs/{etag(data)}")) for data in (COMMON, ONLY_A))
    first.unlink()
    second.unlink()
    second.write_bytes(ONLY_A)

    (undone,) = undo(keep, a)

    assert {Path(left.path) for left in undone.skipped} == {first, second}
    assert not first.exists()


def test_damaged_bytes_are_not_given_back(keep: Keep, a: Path) -> None:
    adopt(keep, a)
    blob = keep.store.path(digest(ONLY_A))
    blob.chmod(0o644)
    blob.write_bytes(b"\0" + ONLY_A[1:])

    (plan,) = keep.plan_undo([a])
    with pytest.raises(NotFoundError, match="damaged") as caught:
        keep.undo(plan)

    assert "verify --repair" in str(caught.value.hint)


@pytest.mark.parametrize("kind", ["link", "name"])
def test_what_others_put_into_the_keep_meanwhile_is_left(
    keep: Keep, a: Path, tmp_path: Path, kind: str
) -> None:
    private = tmp_path / "private"
    private.write_bytes(b"of the same user")
    private.chmod(0o600)
    os.utime(private, ns=(0, 0))
    adopt(keep, a)
    child = forks.start(lambda: undo(keep, a), sync="stop:place:done")
    child.stopped()
    (scratch,) = keep.store.layout.tmp.glob("adopt-*")
    scratch.unlink()
    if kind == "link":
        scratch.symlink_to(private)
    else:
        os.link(private, scratch)
    child.resume()

    with pytest.raises(ModelkeepError):
        child.result()

    status = private.stat()
    assert (stat.S_IMODE(status.st_mode), status.st_mtime_ns) == (0o600, 0)
    undo(keep, a)
    assert loads(a, IN_A)
