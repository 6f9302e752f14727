"""Pins and leases as a person types and a program reads them."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

from modelkeep.keep import Keep
from modelkeep.store.leases import Lease
from tests.cli.conftest import COMMAND, Modelkeep, Result

FIELDS = {
    "id", "kind", "name", "repo", "type", "revision", "blobs", "user", "reason", "owner",
    "created_at", "expires_at", "holds",
}  # fmt: skip


def test_pins_as_documents(modelkeep: Modelkeep, pulled: Result) -> None:
    done = modelkeep("pin", "org/tiny@main", "--reason", "the demo", "--format", "json")
    (pin,) = done.document["pins"]
    assert set(pin) == FIELDS
    assert (pin["kind"], pin["name"], pin["reason"]) == ("pin", "org/tiny@main", "the demo")
    assert (pin["repo"], pin["type"], pin["revision"]) == ("org/tiny", "model", "main")
    assert pin["expires_at"] is pin["owner"] is None

    listed = modelkeep("leases", "org/tiny", "--format", "json").document
    assert (listed["leases"], listed["unreadable"]) == ([pin], [])
    assert modelkeep("ls", "--format", "json").repos[0]["pinned"] is True
    assert modelkeep("leases", "--format", "quiet").out.split() == [pin["id"]]

    assert modelkeep("unpin", "org/tiny", "--format", "json").document["unpinned"] == [pin]
    assert modelkeep("leases", "--format", "json").document["leases"] == []


def test_removing_what_is_pinned_ends_with_3(modelkeep: Modelkeep, pulled: Result) -> None:
    modelkeep("pin", "org/tiny", "--reason", "the demo")
    for arguments in (("--yes",), ("--dry-run",)):
        done = modelkeep("rm", "org/tiny", "--format", "json", *arguments)
        assert done.code == 3
        assert done.error["kind"] == "busy"
        assert "the demo" in done.error["message"]
        assert done.error["hint"] == "modelkeep unpin org/tiny"
    assert modelkeep("ls").out.count("pinned") == 1


def test_pins_are_shown_to_people(modelkeep: Modelkeep, pulled: Result) -> None:
    assert modelkeep("leases").err == "nothing is held\n"
    assert modelkeep("pin", "org/tiny").out == "pinned org/tiny, every revision of it\n"
    modelkeep("pin", "org/tiny@main", "--reason", "the demo")
    heading, first, second = modelkeep("leases").out.splitlines()
    assert heading.split() == ["REPO", "STATE", "BY", "SINCE", "REASON", "ID"]
    assert first.startswith("org/tiny ")
    assert "pinned" in first
    assert "the demo" in second
    assert modelkeep("show", "org/tiny").out.startswith("org/tiny  (pinned)")
    assert modelkeep("unpin", "org/tiny").out == "unpinned org/tiny\nunpinned org/tiny@main\n"
    assert modelkeep("unpin", "org/tiny").code == 1
    assert modelkeep("pin", "org/none").code == 1


def test_a_lease_that_cannot_be_read_is_shown_and_dropped(
    modelkeep: Modelkeep, pulled: Result, keep_dir: Path
) -> None:
    broken = keep_dir / "store" / "leases" / "broken.json"
    broken.write_text("{")

    assert modelkeep("rm", "org/tiny", "--yes").code == 3
    assert "modelkeep leases --drop broken" in modelkeep("leases").out
    listed = modelkeep("leases", "--format", "json").document
    assert listed["unreadable"] == [{"id": "broken", "path": str(broken)}]
    refused = modelkeep("leases", "--drop", "broken")
    assert refused.code == 2
    assert "--yes" in refused.err
    dropped = modelkeep("leases", "--drop", "broken", "--yes", "--format", "json")
    assert dropped.document["dropped"] == ["broken"]
    assert modelkeep("rm", "org/tiny", "--yes").code == 0


def test_a_folder_among_the_leases_is_for_a_person_to_remove(
    modelkeep: Modelkeep, pulled: Result, keep_dir: Path
) -> None:
    folder = keep_dir / "store/leases/folder"
    folder.mkdir()
    assert f"then: rm -r {folder}" in modelkeep("leases").out
    assert f"rm -r {folder}" in modelkeep("rm", "org/tiny", "--yes").err
    refused = modelkeep("leases", "--drop", "folder", "--yes")
    assert refused.code == 2
    assert f"rm -r {folder}" in refused.err


def pin_of_somebody_else(keep_dir: Path) -> Lease:
    keep = Keep.open(keep_dir)
    keep.pin("org/tiny")
    (lease,) = keep.store.leases.look().leases
    path = keep.store.layout.leases / f"{lease.id}.json"
    path.write_text(path.read_text().replace(f'"user": "{lease.user}"', '"user": "somebody"'))
    return lease


def test_pins_of_other_people_are_asked_about(
    modelkeep: Modelkeep, pulled: Result, keep_dir: Path
) -> None:
    pin_of_somebody_else(keep_dir)
    assert modelkeep("unpin", "org/tiny").code == 2
    assert modelkeep("leases").out.count("somebody") == 1
    assert modelkeep("unpin", "org/tiny", "--yes").code == 0


def test_a_person_may_say_no(modelkeep: Modelkeep, pulled: Result, keep_dir: Path) -> None:
    pin_of_somebody_else(keep_dir)
    master, slave = pty.openpty()
    with subprocess.Popen(
        [COMMAND, "unpin", "org/tiny"], stdin=slave, stderr=subprocess.PIPE, text=True
    ) as process:
        os.write(master, b"n\n")
        assert process.stderr is not None
        said = process.stderr.read()
    os.close(master)
    os.close(slave)
    assert process.returncode == 1
    assert "pinned by somebody: org/tiny" in said
    assert "nothing was changed" in said
    assert modelkeep("leases", "--format", "quiet").out
