"""Keeps the help text in the READMEs equal to what `modelkeep --help` prints.

usage: readme_help.py [--check]     with --check nothing is written; exit 1 if something would be
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
READMES = (ROOT / "README.md", ROOT / "README.zh-CN.md")
BLOCK = re.compile(r"(?<=<!-- help -->\n).*?(?=<!-- /help -->\n)", re.DOTALL)


def help_text() -> str:
    """The output of `modelkeep --help`, 80 columns wide, without colour."""
    plain = {"COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb", "LC_ALL": "C.UTF-8"}
    return subprocess.run(
        [Path(sys.executable).with_name("modelkeep"), "--help"],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | plain,
    ).stdout.strip()


def with_help(readme: str, text: str) -> str:
    """The README with the text in its help block; the same README if it has no block."""
    return BLOCK.sub(lambda _: f"```\n{text}\n```\n", readme, count=1)


def main() -> int:
    """Rewrites the help blocks, or with `--check` reports the stale ones."""
    check = "--check" in sys.argv[1:]
    text = help_text()
    failed = False
    for path in READMES:
        before = path.read_text(encoding="utf-8")
        if not BLOCK.search(before):
            print(f"error: `{path.name}` has no <!-- help --> … <!-- /help --> block")
            failed = True
            continue
        after = with_help(before, text)
        if check and after != before:
            print(f"error: the help in `{path.name}` is stale\nhint: make readme-help")
            failed = True
        elif after != before:
            path.write_text(after, encoding="utf-8")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
