"""The caches of a running container are found under the names they have on its host."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.containers import Containers, containers
from tests.filesystems import public_directory
from tests.hub_layout.test_survey import write

from modelkeep.hub.survey import survey
from modelkeep.runtime.caches import Machine, places

pytestmark = pytest.mark.real

NAMED = "models"


@contextmanager
def running(podman: Containers, models: Path) -> Iterator[None]:
    """A container that has a folder of the host at /models, a named volume at /root, and waits."""
    volumes = (f"{models}:/models", f"{NAMED}:/root")
    command = podman.command("0:0", mounts=volumes, env={"HF_HOME": ""}, options=("--interactive",))
    # It ends with its standard input, however the test ends.
    script = "cd /root && mkdir -p .cache/huggingface/hub/models--org--b && echo ready && exec cat"
    environ = {**os.environ, "HF_HOME": "/models"}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [*command, "sh", "-c", script], env=environ, stdin=pipe, stdout=pipe
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield


def test_folders_and_volumes_of_a_running_container_are_found() -> None:
    with public_directory() as shared, containers() as podman:
        write(shared / "models/hub", "a", b"weights")
        machine = Machine(homes="/none", accounts="/none", startup=(), volumes=())
        with running(podman, shared / "models"):
            found = {place.path: place.found_by for place in places({}, (), machine)}
        assert found[f"{shared}/models/hub"].startswith("HF_HOME of process")
        volume = podman.state / f"root/volumes/{NAMED}/_data"
        assert found[f"{volume}/.cache/huggingface/hub"].startswith("container of process")
        (cache,) = survey({path: "" for path in found if path.startswith(str(shared))}).caches
        assert cache.dir == shared / "models/hub"

        stopped = Machine(
            processes="/none", homes="/none", accounts="/none", startup=(),
            volumes=(str(volume.parent.parent),),
        )  # fmt: skip
        found = {place.path: place.found_by for place in places({}, (), stopped)}
        assert found[f"{volume}/.cache/huggingface/hub"] == f"container volume {NAMED}"
