"""A cache that stays where it is shares its files with the keep, and loses nothing by it."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelkeep.errors import AccessError, NotFoundError, UsageError
from modelkeep.hub.adopt import sharer
from modelkeep.hub.adopt.plan import preview
from modelkeep.keep import Keep
from modelkeep.store import meta as metas
from tests import forks
from tests.adopt.conftest import COMMON, CONTENTS, IN_A, IN_B, ONLY_A, ONLY_B
from tests.adopt.support import adopt, loads, noted, shares_nothing, undo
from tests.caches import Revision, digest, disk_bytes, etag, picture, write
from tests.filesystems import bind, need_root, public_directory


def test_two_caches_end_up_with_each_content_once(keep: Keep, a: Path, b: Path) -> None:
    before = disk_bytes(a, b)

    adopted = adopt(keep, a, b)

    assert {name for name, _ in keep.store.blobs()} == {digest(data) for data in CONTENTS}
    blobs = sum(status.st_size for _, status in keep.store.blobs())
    assert blobs == sum(map(len, CONTENTS))
    assert loads(a, IN_A)
    assert loads(b, IN_B)
    small = sum(status.st_blocks * 512 for _, status in keep.store.blobs() if status.st_size < 99)
    assert before - disk_bytes(a, b, keep.store.layout.blobs) == len(COMMON) // 4096 * 4096 + (
        4096 - small
    )
    assert [one.bytes_shared for one in adopted] == [5_000_000, 5_000_000]
    assert [(one.skipped, one.corrupt, one.broken) for one in adopted] == [((), (), ())] * 2


def test_what_came_back_is_what_the_disk_says(keep: Keep, a: Path, b: Path) -> None:
    adopt(keep, a)
    before = disk_bytes(b, keep.store.layout.blobs)

    (adopted,) = adopt(keep, b)

    assert adopted.bytes_freed == before - disk_bytes(b, keep.store.layout.blobs) > 2_900_000


def test_names_alone_tell_what_will_come_back(keep: Keep, a: Path, b: Path) -> None:
    plans = keep.plan_adoption([a, b], share=True)

    expected = [preview(plan) for plan in plans]

    assert [one.bytes_freed for one in expected] == [0, disk_bytes(b / "blobs/") - _only_b(b)]
    assert not list(keep.store.blobs())
    assert not noted(keep, a)


def _only_b(cache: Path) -> int:
    sizes = {
        path: path.stat().st_blocks * 512
        for path in cache.glob("blobs/*/*")
        if path.read_bytes() != COMMON
    }
    (marker,) = cache.glob("blobs/.h*")
    return sum(sizes.values()) + marker.stat().st_blocks * 512


def test_an_adopted_cache_is_not_hashed_again(
    keep: Keep, a: Path, b: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adopt(keep, a, b)
    parts = (keep.store.layout.blobs, keep.store.layout.metas, keep.store.layout.roots, a, b)
    before, known = [picture(part) for part in parts], set(keep.store.layout.journals.iterdir())

    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("hashed")

    monkeypatch.setattr("modelkeep.store.taking.hash_file", refuse)
    monkeypatch.setattr(sharer, "hash_file", refuse)
    again = adopt(keep, a, b)

    assert [(one.bytes_freed, one.journal) for one in again] == [(0, None), (0, None)]
    assert [one.bytes_shared for one in again] == [5_000_000, 5_000_000]
    assert set(keep.store.layout.journals.iterdir()) == known
    assert [picture(part) for part in parts] == before


def test_sources_say_where_a_content_can_be_fetched_again(
    keep: Keep, a: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.example")
    adopt(keep, a)

    meta = metas.read(keep.store.layout.meta(digest(COMMON)))

    assert meta is not None
    (source,) = meta.sources
    assert (source.repo, source.path) == ("org/one", "deep/model.safetensors")
    assert (source.commit, source.upstream) == (IN_A[0].commit, "http://hub.example")


def test_the_newer_clients_store_tells_the_xet_name(keep: Keep, b: Path) -> None:
    adopt(keep, b)

    meta = metas.read(keep.store.layout.meta(digest(ONLY_B)))

    assert meta is not None
    assert meta.xet_hash in {path.name for path in b.glob("blobs/*/*")}


def test_an_hf_home_stands_for_its_hub(keep: Keep, tmp_path: Path) -> None:
    write(tmp_path / "home/hub", *IN_A)

    (adopted,) = adopt(keep, tmp_path / "home")

    assert adopted.cache == tmp_path / "home/hub"
    undo(keep, tmp_path / "home")
    assert shares_nothing(keep, tmp_path / "home")


def test_corrupt_bytes_stay_where_they_are(keep: Keep, a: Path) -> None:
    blob = next(a.glob(f"*/blobs/{etag(ONLY_A)}"))
    blob.write_bytes(b"\0" + ONLY_A[1:])
    small = next(a.glob(f"*/blobs/{etag(b'{}')}"))
    small.write_bytes(b"{edited}")
    before = picture(blob.parent)

    (adopted,) = adopt(keep, a)

    assert {left.path for left in adopted.corrupt} == {str(blob), str(small)}
    assert all("modelkeep pull org/" in left.reason for left in adopted.corrupt)
    assert picture(blob.parent) == before
    assert not keep.store.has(digest(ONLY_A))


def test_what_a_cache_holds_besides_is_reported_and_left(keep: Keep, a: Path) -> None:
    blobs = a / IN_A[0].folder / "blobs"
    (blobs / "0123.abcdef01.incomplete").write_bytes(b"half")
    (blobs / "W-strange-etag").write_bytes(ONLY_B)
    (a / "notes.txt").write_text("mine")
    outside = a.parent / "outside"
    outside.write_bytes(ONLY_B)
    (blobs / etag(ONLY_B)).symlink_to(outside)
    (a / "models--org--link").symlink_to(a.parent)

    (adopted,) = adopt(keep, a)

    assert {Path(left.path).name for left in adopted.skipped} == {
        "0123.abcdef01.incomplete",
        "W-strange-etag",
        "notes.txt",
        etag(ONLY_B),
        "models--org--link",
    }
    assert not keep.store.has(digest(ONLY_B))
    assert outside.stat().st_nlink == 1


def test_a_file_that_changes_while_it_is_hashed_is_left(keep: Keep, a: Path) -> None:
    blob = next(a.glob(f"*/blobs/{etag(ONLY_A)}"))
    mode = blob.stat().st_mode
    (plan,) = keep.plan_adoption([a], share=True)
    writer = blob.open("r+b")

    child = forks.start(lambda: keep.adopt(plan), sync="stop:take_over:sealed")
    child.stopped()
    with writer:
        writer.write(b"now")
    child.resume()
    adopted = child.result()

    # Which of the two depends on whether it was hashed before or after.
    assert [left.path for left in (*adopted.corrupt, *adopted.skipped)] == [str(blob)]
    assert blob.stat().st_mode == mode
    assert not keep.store.has(digest(ONLY_A))


@pytest.mark.parametrize("left", ["nothing", "a link"])
def test_a_pointer_to_nothing_is_mended_from_the_store(
    keep: Keep, a: Path, b: Path, left: str
) -> None:
    """A link to nothing is what clients before 1.32 leave of the newer clients' shared blobs."""
    adopt(keep, a)
    payload = next(path for path in b.glob("blobs/*/*") if path.stat().st_size == len(COMMON))
    broken = next(b.glob(f"*/blobs/{etag(COMMON)}"))
    if left == "nothing":
        broken.unlink()
    payload.unlink()
    before = picture(b)

    (adopted,) = adopt(keep, b)

    assert (adopted.mended, adopted.broken) == (1, ())
    assert loads(b, IN_B)
    undo(keep, b)
    assert picture(b) == before


def test_what_stock_scanners_ignore_is_named_with_what_mends_it(keep: Keep, a: Path) -> None:
    write(a, Revision("org/noref", {"config.json": b"{}"}, ref=None))
    headless = a / "models--org--headless"
    (headless / "blobs").mkdir(parents=True)
    (a / IN_A[1].folder / "refs/gone").write_text("f" * 40)
    (a / IN_A[1].folder / "refs/newline").write_text(IN_A[1].commit + "\n")
    next(a.glob(f"*/blobs/{etag(ONLY_A)}")).unlink()

    (adopted,) = adopt(keep, a)

    named = {left.path.removeprefix(f"{a}/"): left.reason for left in adopted.broken}
    assert set(named) == {
        "models--org--noref",
        "models--org--headless",
        f"{IN_A[1].folder}/refs/gone",
        f"{IN_A[1].folder}/refs/newline",
        f"{IN_A[1].folder}/snapshots/{IN_A[1].commit}/a.bin",
    }
    assert all("modelkeep pull org/" in reason for reason in named.values())


def test_a_private_cache_is_not_opened_to_others() -> None:
    with public_directory() as base:
        keep, cache = Keep.create(base / "keep"), write(base / "a", *IN_A)
        cache.chmod(0o700)
        before = picture(cache)

        with pytest.raises(AccessError, match="every user of this machine") as caught:
            adopt(keep, cache, share=False)

        assert "--share" in str(caught.value.hint)
        assert picture(cache) == before
        assert not list(keep.store.blobs())
        assert len(adopt(keep, cache, share=True)) == 1


def test_a_cache_as_open_as_the_keep_needs_no_word(keep: Keep, a: Path) -> None:
    assert adopt(keep, a, share=False)[0].bytes_shared == 5_000_000


@pytest.mark.parametrize("name", ["keep", "keep/hub", "keep/store", "missing", "empty", ".", "old"])
def test_what_is_no_cache_is_refused(keep: Keep, a: Path, name: str) -> None:
    base = keep.directory.parent
    (base / "empty").mkdir()
    (base / "old").mkdir()
    (base / "old/abc").write_bytes(b"")
    (base / "old/abc.json").write_bytes(b"{}")

    with pytest.raises((UsageError, NotFoundError)):
        keep.plan_adoption([base / name])


def test_another_keeps_hub_is_refused(keep: Keep, tmp_path: Path) -> None:
    other = Keep.create(tmp_path / "other")
    write(other.hub.directory, *IN_A)

    with pytest.raises(UsageError, match="belongs to the keep"):
        keep.plan_adoption([other.hub.directory])


def test_a_plain_folder_shares_nothing_that_is_edited_in_place(keep: Keep, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    notes = folder / ".cache/huggingface/download"
    notes.mkdir(parents=True)
    for path, data in {"model.safetensors": COMMON, "config.json": b"{}"}.items():
        (folder / path).write_bytes(data)
        (notes / f"{path}.metadata").write_text(f"{'c' * 40}\n{etag(data)}\n1700000000.0\n")
    (folder / "mine.bin").write_bytes(ONLY_A)

    (adopted,) = adopt(keep, folder)

    assert shares_nothing(keep, folder)
    assert adopted.files == 2
    if keep.store.capabilities.reflink:
        meta = metas.read(keep.store.layout.meta(digest(COMMON)))
        assert meta is not None
        assert not meta.sources
    else:
        assert {Path(left.path).name for left in adopted.skipped} == {
            "model.safetensors",
            "config.json",
        }
        assert not list(keep.store.blobs())
    with pytest.raises(UsageError):
        keep.plan_adoption([folder], merge=True)


def test_an_edited_file_of_a_plain_folder_is_no_finding(keep: Keep, tmp_path: Path) -> None:
    notes = tmp_path / "model/.cache/huggingface/download"
    notes.mkdir(parents=True)
    (tmp_path / "model/config.json").write_bytes(b"{edited}")
    (notes / "config.json.metadata").write_text(f"{'c' * 40}\n{etag(b'{}')}\n1700000000.0\n")

    (adopted,) = adopt(keep, tmp_path / "model")

    assert not adopted.corrupt
    assert ["edited" in left.reason for left in adopted.skipped] == [True]


def test_a_cache_that_vanished_is_said_to_be_gone(keep: Keep, a: Path) -> None:
    for merge in (False, True):
        (plan,) = keep.plan_adoption([a], merge=merge, share=True)
        a.rename(a.with_name("elsewhere"))
        with pytest.raises(NotFoundError, match="gone"):
            keep.adopt(plan)
        a.with_name("elsewhere").rename(a)
    assert not noted(keep, a)


@pytest.mark.real
def test_a_cache_on_another_mount_takes_no_space(keep: Keep, a: Path, tmp_path: Path) -> None:
    need_root()
    with bind(tmp_path, a) as mounted:
        before = picture(mounted)

        (adopted,) = adopt(keep, mounted)

        assert any("EXDEV" in left.reason for left in adopted.skipped)
        assert adopted.journal is None
        assert not list(keep.store.blobs())
        assert [root.id for root in keep.store.roots] == ["hub"]
        assert picture(mounted) == before
