"""A process that fetches, for tests that kill it; what to fetch comes as JSON on stdin."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from modelkeep.hub.fetch import Wanted
from modelkeep.store.digest import Digest
from tests.fetch.support import Place


def main() -> None:
    task = json.load(sys.stdin)
    place = Place(Path(task["root"]), task["endpoint"])
    todo = [
        Wanted(file["url"], Digest.parse(file["digest"]), file["size"], file["name"])
        for file in task["files"]
    ]
    report = place.fetch(todo, flock=task["flock"], max_streams=task["streams"])
    print(json.dumps(asdict(report)))


if __name__ == "__main__":
    main()
