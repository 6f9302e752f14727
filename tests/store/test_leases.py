"""What is leased or pinned stays: by content, by name, and by default when nothing can be known."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from modelkeep.errors import UsageError
from modelkeep.fs import identity
from modelkeep.fs.clock import now_ns
from modelkeep.store.digest import hash_bytes
from modelkeep.store.leases import Kind, Lease
from modelkeep.store.store import Store
from modelkeep.times import utc_seconds, utc_text

ONE, TWO = hash_bytes(b"one", "sha256"), hash_bytes(b"two", "git-sha1")
ELSEWHERE = replace(identity.current(), host="elsewhere", pid=1, start="1")


def file_of(store: Store, lease: Lease) -> Path:
    return store.layout.leases / f"{lease.id}.json"


def rewritten(store: Store, lease: Lease, **fields: object) -> None:
    file = file_of(store, lease)
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))


def fresh(store: Store) -> Store:
    """The store as another process sees it."""
    return Store.open(store.layout.root)


def test_a_lease_holds_its_contents_and_its_name(store: Store) -> None:
    lease = store.leases.take("org/model@main", [ONE], reason="a talk")

    held = fresh(store).leases.look()

    assert held.leases == (lease,)
    assert held.protects(ONE) == str(lease)
    assert "a talk" in str(lease)
    assert held.protects(TWO) is None
    assert held.named("org/model") == (lease,)
    assert held.named("org") == held.named("org/mod") == ()
    assert fresh(store).leases.protects(ONE) == str(lease)
    assert fresh(store).leases.protects(TWO) is None


def test_a_lease_ends_when_it_is_dropped_and_only_once(store: Store) -> None:
    lease = store.leases.take("org/model", [ONE])

    assert store.leases.drop(lease.id)

    assert not store.leases.drop(lease.id)
    assert store.leases.look().leases == ()
    assert not list(store.layout.leases.iterdir())
    assert not [path for path in store.layout.tmp.iterdir() if path.is_file()]


@pytest.mark.parametrize("name", ["", ".", "..", "../STORE", "/etc/passwd"])
def test_no_id_leads_out_of_the_leases(store: Store, name: str) -> None:
    assert not store.leases.drop(name)
    assert store.layout.header.exists()


def test_a_pin_has_no_end(store: Store) -> None:
    pin = store.leases.take("org/model", [], kind=Kind.PIN, lifetime_s=None)

    assert pin.expires_at is None
    assert fresh(store).leases.look().leases == (pin,)


def test_a_renewed_lease_holds_on_under_another_id(store: Store) -> None:
    lease = store.leases.take("org/model", [ONE], owner=ELSEWHERE, lifetime_s=-1000, reason="why")
    assert store.leases.look().expired == (lease,)

    renewed = store.leases.renew(lease)

    assert store.leases.look().leases == (renewed,)
    assert store.leases.look().expired == ()
    assert replace(renewed, id=lease.id, created_at="", expires_at=None) == replace(
        lease, created_at="", expires_at=None
    )


def test_while_its_owner_runs_a_lease_holds_whatever_the_clock_says(store: Store) -> None:
    lease = store.leases.take("org/model", [ONE], owner=identity.current(), lifetime_s=-100_000)

    assert store.leases.look().leases == (lease,)
    assert store.leases.protects(ONE)


def test_a_lease_ends_with_its_owner(store: Store) -> None:
    script = (
        "import sys; from pathlib import Path; from modelkeep.fs import identity;"
        "from modelkeep.store.store import Store;"
        "Store.open(Path(sys.argv[1])).leases.take('org/model', [], owner=identity.current())"
    )
    subprocess.run([sys.executable, "-c", script, store.layout.root], check=True)

    held = store.leases.look()

    assert held.leases == ()
    assert [lease.name for lease in held.expired] == ["org/model"]


@pytest.mark.parametrize("field", ["host", "boot", "pid_namespace"])
def test_an_owner_elsewhere_is_judged_by_time_alone(store: Store, field: str) -> None:
    owner = replace(identity.current(), pid=2**22 - 1, **{field: "another"})
    lease = store.leases.take("org/model", [ONE], owner=owner, lifetime_s=10)
    old = store.leases.take("org/model", [TWO], owner=owner, lifetime_s=-400)

    held = store.leases.look()

    assert held.leases == (lease,)
    assert held.expired == (old,)
    assert store.leases.protects(ONE)
    assert store.leases.protects(TWO) is None


def test_clocks_that_differ_by_minutes_end_nothing(store: Store) -> None:
    store.leases.take("org/model", [ONE], lifetime_s=-240)
    assert store.leases.protects(ONE)


def test_time_is_that_of_the_file_system(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 4e9)  # this machine's clock is decades ahead

    lease = store.leases.take("org/model", [ONE], lifetime_s=60)

    assert abs(utc_seconds(lease.created_at) - now_ns(store.layout.tmp) / 1e9) < 60
    assert store.leases.look().leases == (lease,)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"format": 1',
        b"[" * 100_000,
        b"\0" * 4096,
    ],
)
def test_what_cannot_be_understood_holds_everything(store: Store, text: bytes) -> None:
    (store.layout.leases / "broken.json").write_bytes(text)

    held = store.leases.look()

    assert held.unreadable == (store.layout.leases / "broken.json",)
    assert "broken" in str(held.protects(ONE))
    assert "broken" in str(store.leases.protects(TWO))
    assert store.leases.drop("broken")
    assert store.leases.protects(ONE) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"format": 2},
        {"kind": "treaty"},
        {"digests": ["md5:0"]},
        {"digests": None},
        {"owner": {"pid": 1}},
        {"owner": "me"},
        {"owner": {"host": "", "boot": "", "pid_namespace": "", "pid": "x", "start": ""}},
        {"expires_at": "tomorrow"},
        {"created_at": "yesterday"},
        {"name": 5},
        {"expires_at": 5},
        {"expires_at": "2026-11-21T06:00:00"},
    ],
)
def test_a_lease_of_another_version_holds_everything(
    store: Store, fields: dict[str, object]
) -> None:
    lease = store.leases.take("org/model", [ONE])
    rewritten(store, lease, **fields)

    assert fresh(store).leases.look().unreadable == (file_of(store, lease),)
    assert fresh(store).leases.protects(TWO)


def test_a_folder_where_a_lease_should_be_holds_everything(store: Store) -> None:
    folder = store.layout.leases / "folder.json"
    folder.mkdir()
    assert store.leases.protects(ONE)
    with pytest.raises(UsageError, match="is a folder") as caught:
        store.leases.drop("folder")
    assert f"rm -r {folder}" in str(caught.value.hint)
    assert folder.is_dir()


def test_a_link_to_nothing_where_a_lease_should_be_holds_everything(store: Store) -> None:
    link = store.layout.leases / "link.json"
    link.symlink_to("nowhere")
    assert store.leases.look().unreadable == (link,)
    assert store.leases.protects(ONE)
    assert store.leases.drop("link")
    assert store.leases.protects(ONE) is None


def test_what_nfs_leaves_behind_holds_nothing(store: Store) -> None:
    (store.layout.leases / ".nfs0000000000000001").write_bytes(b"removed while open")
    assert store.leases.look().unreadable == ()


def test_a_lease_survives_on_disk_as_documented(store: Store) -> None:
    now = utc_text(now_ns(store.layout.tmp) / 1e9)
    (store.layout.leases / "theirs.json").write_text(
        f"""{{"format": 1, "kind": "lease", "name": "org/name@main", "digests": ["{ONE}"],
        "owner": {{"host": "node1", "boot": "b", "pid_namespace": "pid:[1]", "pid": 4711,
        "start": "183422"}}, "user": "alice", "created_at": "{now}", "expires_at": "{now}",
        "reason": "python train.py", "colour": "unknown to us"}}"""
    )

    assert store.leases.protects(ONE) == "in use by alice, process 4711 on node1: python train.py"


def test_what_others_write_stays_on_one_line(store: Store) -> None:
    lease = store.leases.take("org/model", [ONE], reason="sh -c 'one\n\x1b[2Jtwo\udcff'")
    assert str(lease).endswith("sh -c 'one  [2Jtwo '")

    rewritten(store, lease, user="al\tice", reason="a\nb")

    assert fresh(store).leases.protects(ONE) == "in use by al ice: a b"


def test_a_lease_can_be_read_by_everybody(store: Store) -> None:
    umask = os.umask(0o077)
    try:
        lease = store.leases.take("org/model", [ONE])
    finally:
        os.umask(umask)
    assert file_of(store, lease).stat().st_mode & 0o777 == 0o644
