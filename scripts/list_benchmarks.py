"""Lists the benchmarks: how to run each and what it measures."""

from __future__ import annotations

import ast
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"


def main() -> None:
    """Prints one line per module of `benchmarks` that can be run."""
    for path in sorted(FOLDER.glob("*.py")):
        source = path.read_text(encoding="utf-8")
        if '__name__ == "__main__"' in source:
            about = (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]
            print(f"  .venv/bin/python -m benchmarks.{path.stem:<14} {about}")


if __name__ == "__main__":
    main()
