"""The five steps of the demo, and what each of them is found to have cost."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from modelkeep.errors import ModelkeepError, UsageError
from modelkeep.hub.cache import HubCache
from modelkeep.hub.repo import DEFAULT_REVISION, parse
from modelkeep.runtime.demo import loader
from modelkeep.runtime.demo.disk import Growth
from modelkeep.runtime.demo.processes import Processes

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
# What the published weights give for the loader's sentences; libraries differ in the last digits.
_KNOWN_COSINE = {MINILM: 0.741293}
_TOLERANCE = 1e-4

# The same weights in other forms, which the loader of the demo does not read.
_OTHER_FORMS = (
    *("*.bin", "*.h5", "*.ot", "*.msgpack", "*.onnx", "*.ckpt", "*.gguf"),
    *("onnx/*", "openvino/*", "coreml/*"),
)
_SMALL = 1 << 20
_SECOND_REVISION = "demo-second-revision"

TITLES = ("first get", "second project", "load offline", "second revision", "verify")


@dataclass(frozen=True, slots=True)
class Row:
    """One step that was done: its costs, and in `details` what is particular to it.

    `bytes_fetched` came over the network, `bytes_stored` is how much more content is kept, and
    `bytes_on_disk` how much more the files of keep and project occupy. `seconds` is the life of the
    process that did it.
    """

    step: str
    bytes_fetched: int
    bytes_stored: int
    bytes_on_disk: int
    seconds: float
    details: dict[str, Any]


class StepFailedError(ModelkeepError):
    """A step went wrong, and with it the demo; the exit code is that of the step."""

    kind = "step_failed"

    def __init__(self, number: int, error: ModelkeepError) -> None:
        super().__init__(
            f"step {number}, {TITLES[number - 1]}: {error.message}",
            hint=error.hint,
            path=error.path,
            errno=error.errno,
        )
        self.exit_code = error.exit_code


def require_loader() -> None:
    """Raise UsageError where the libraries that load the model are not installed."""
    for library in ("torch", "transformers"):
        if find_spec(library) is None:
            raise UsageError(
                f"the demo loads a model with stock {library}, which is not installed here",
                hint="uv tool install 'modelkeep[torch]', or: pip install 'modelkeep[torch]'",
            )


class Demo:
    """Does the main job with a repo, in `keep` and in `work`, a folder on the same file system.

    `starting` is told the number of each step before it begins.
    """

    def __init__(self, name: str, keep: Path, work: Path, starting: Callable[[int], None]) -> None:
        self._repo, revision = parse(name)
        self._revision = revision or DEFAULT_REVISION
        self._keep = keep
        self._work = work
        self._starting = starting
        self._project = work / "project" / "hub"
        self._processes = Processes(keep, work)
        self._commit = ""
        self._left_out: tuple[str, ...] = ()

    def rows(self) -> Iterator[Row]:
        """Do the steps one after another. Raises StepFailedError for the first that fails."""
        steps = (self._get, self._share, self._load, self._revise, self._verify)
        for number, (title, step) in enumerate(zip(TITLES, steps, strict=True), 1):
            self._starting(number)
            try:
                yield step(title)
            except ModelkeepError as error:
                raise StepFailedError(number, error) from error

    def _get(self, title: str) -> Row:
        upstream = self._processes.upstream()
        commit = upstream.commit(self._repo, self._revision)
        if any(file.path.endswith(".safetensors") for file in upstream.tree(self._repo, commit)):
            self._left_out = _OTHER_FORMS
        row, self._commit = self._pull(title, self._revision)
        return row

    def _share(self, title: str) -> Row:
        growth = self._growth()
        document, seconds = self._processes.modelkeep(
            "link", f"{self._repo}@{self._revision}", "--into", str(self._project)
        )
        added = growth.bytes()
        details = {name: document[name] for name in ("files", "bytes_total", "modes")}
        return Row(title, 0, added, added, seconds, details)

    def _load(self, title: str) -> Row:
        growth = self._growth()
        document, seconds, isolated = self._processes.loader(
            self._repo.id, self._commit, self._work / "loaded.json"
        )
        cosine, calls = float(document["cosine"]), int(document["network_calls"])
        known = _KNOWN_COSINE.get(self._repo.id)
        if calls:
            raise ModelkeepError(f"loading offline made {calls} network calls")
        if known is not None and abs(cosine - known) > _TOLERANCE:
            raise ModelkeepError(
                f"the sentences have a cosine similarity of {cosine:.6f}, not of {known:.6f}",
                hint="these are not the published weights, or the libraries compute wrongly",
            )
        details = {
            "sentences": list(loader.SENTENCES),
            "cosine": cosine,
            "known_cosine": known,
            "network_calls": calls,
            "without_network": isolated,
        }
        return Row(title, 0, 0, growth.bytes(), seconds, details)

    def _revise(self, title: str) -> Row:
        earlier = self._slightly_different_commit()
        if earlier is None:
            return self._revise_locally(title)
        row, _ = self._pull(title, earlier)
        row.details["changed"] = self._changed(earlier)
        return row

    def _verify(self, title: str) -> Row:
        growth = self._growth()
        document, seconds = self._processes.modelkeep("verify")
        rate = document["bytes"] / document["seconds"] if document["seconds"] else None
        details = {
            "files": document["files"],
            "bytes": document["bytes"],
            "hashing_seconds": document["seconds"],
            "bytes_per_second": rate,
        }
        return Row(title, 0, 0, growth.bytes(), seconds, details)

    def _pull(self, title: str, revision: str) -> tuple[Row, str]:
        patterns = [word for pattern in self._left_out for word in ("--exclude", pattern)]
        growth = self._growth()
        document, seconds = self._processes.modelkeep("pull", f"{self._repo}@{revision}", *patterns)
        return _placed(title, document, growth.bytes(), seconds)

    def _slightly_different_commit(self) -> str | None:
        """Return the commit before ours if it differs in one small file alone."""
        upstream = self._processes.upstream()
        earlier = upstream.earlier_commit(self._repo, self._commit)
        if earlier is None:
            return None
        ours = {(file.path, file.digest) for file in upstream.tree(self._repo, self._commit)}
        changed = [
            file
            for file in upstream.tree(self._repo, earlier)
            if (file.path, file.digest) not in ours
        ]
        return earlier if len(changed) == 1 and changed[0].size < _SMALL else None

    def _revise_locally(self, title: str) -> Row:
        """Make the second revision ourselves, as somebody does who edits a model card."""
        folder = self._work / "edited"
        shutil.copytree(HubCache(self._keep / "hub").snapshot(self._repo, self._commit), folder)
        card = folder / "README.md"
        text = card.read_text(encoding="utf-8") if card.exists() else ""
        card.write_text(f"{text}\nEdited by the demo.\n", encoding="utf-8")
        growth = self._growth()
        document, seconds = self._processes.modelkeep(
            "add", str(folder), "--as", str(self._repo), "--revision", _SECOND_REVISION
        )
        row, commit = _placed(title, document, growth.bytes(), seconds)
        row.details["changed"] = self._changed(commit)
        return row

    def _changed(self, commit: str) -> list[str]:
        """Return the files of a commit in the keep that ours has not, or has with other bytes."""
        hub = HubCache(self._keep / "hub")
        ours, others = (
            {
                path: file.resolve().read_bytes() if file.stat().st_size < _SMALL else file.name
                for path, file in hub.snapshot_files(self._repo, each).items()
            }
            for each in (self._commit, commit)
        )
        return [path for path, content in others.items() if ours.get(path) != content]

    def _growth(self) -> Growth:
        return Growth(self._keep, self._project)


def _placed(
    title: str, document: dict[str, Any], bytes_on_disk: int, seconds: float
) -> tuple[Row, str]:
    """Read what a pull or an add says of itself; return the row and the commit."""
    placed = document["repos"][0]
    details = {name: placed[name] for name in ("repo", "commit", "files", "bytes_total")}
    row = Row(
        title, placed["bytes_fetched"], placed["bytes_stored"], bytes_on_disk, seconds, details
    )
    return row, str(placed["commit"])
