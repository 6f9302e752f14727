"""Starting up: modelkeep's quickest commands against a bare interpreter, and against `hf`.

    python -m benchmarks.startup [--rounds 15]

Every contestant is one process from start to end. Bytecode is compiled beforehand, as it is after
the first run of an installed program.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.report import Table, command, print_machine, timed

SCRIPTS = Path(sys.executable).parent


def main() -> None:
    """Start each command in alternating rounds, print how they compare with `python -c pass`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    chosen = parser.parse_args()
    modelkeep, hf = SCRIPTS / "modelkeep", SCRIPTS / "hf"
    commands: dict[str, list[str | Path]] = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "modelkeep --version": [modelkeep, "--version"],
        "modelkeep env": [modelkeep, "env"],
        "modelkeep exec -- true": [modelkeep, "exec", "--", "true"],
        "modelkeep exec --model -- true": [
            *(modelkeep, "exec", "--offline", "--model", "org/name", "--", "true")
        ],
        "modelkeep --help": [modelkeep, "--help"],
        "modelkeep ls": [modelkeep, "ls"],
        "hf --version": [hf, "--version"],
    }
    with tempfile.TemporaryDirectory(prefix="bench-startup-") as base:
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ |= {
            "PYTHONPYCACHEPREFIX": f"{base}/bytecode",
            "MODELKEEP_HOME": f"{base}/keep",
            "HF_HOME": f"{base}/hf",
            "HF_ENDPOINT": "http://127.0.0.1:9",  # nobody there: no probe goes out
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        }
        command([modelkeep, "init"])
        for argv in commands.values():
            command(argv)
        print_machine()
        table = Table("start-up", "s", "python -c pass")
        table.measure(
            chosen.rounds,
            {name: timed(partial(command, argv)) for name, argv in commands.items()},
        )
        table.print()


if __name__ == "__main__":
    main()
