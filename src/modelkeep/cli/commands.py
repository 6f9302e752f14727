"""The names of all commands, with one line about each, so that `--help` imports none of them."""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """A command: its module below `modelkeep.cli`, and its own short help."""

    module: str
    summary: str


SECTIONS: dict[str, dict[str, Entry]] = {
    "Keep": {
        "init": Entry("init", "Make a keep, for yourself or for a group."),
        "pull": Entry("pull", "Get models into the keep."),
        "add": Entry("add", "Make a local model folder a repo of the keep."),
        "ls": Entry("ls", "List what the keep holds."),
        "show": Entry("show", "Show one repo: revisions, refs, sizes, origin."),
        "where": Entry("where", "Show which files a loader opens, and why those."),
        "adopt": Entry("adopt", "Take existing caches into the keep, by sharing or merging."),
        "link": Entry("link", "Give a repo to another cache or to a plain folder."),
        "settle": Entry("settle", "Take in what stock clients downloaded into the keep."),
        "verify": Entry("verify", "Hash what is stored and compare it with its names."),
        "pin": Entry("pin", "Keep repos or revisions from being removed."),
        "unpin": Entry("unpin", "Let go what was pinned."),
        "leases": Entry("leases", "Show what is in use or pinned, and by whom."),
        "rm": Entry("rm", "Remove repos or revisions from the keep."),
        "gc": Entry("gc", "Give space back: garbage, and what was not used for longest."),
    },
    "Run": {
        "env": Entry("env", "Print the variables that let loaders use the keep."),
        "exec": Entry("exec", "Run a command with the keep as its cache."),
        "doctor": Entry("doctor", "Look for what is wrong with the keep, and say what to do."),
        "demo": Entry("demo", "Run the main job on a real model and show what happened."),
        "completion": Entry("completion", "Print the tab completion of a shell."),
    },
}

COMMANDS: dict[str, Entry] = {
    name: entry for section in SECTIONS.values() for name, entry in section.items()
}
