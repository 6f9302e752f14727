"""The models that `exec` was told of: looked at, fetched, and held while the command runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from modelkeep.errors import AccessError, ModelkeepError
from modelkeep.settings import Decided

if TYPE_CHECKING:
    from modelkeep.cli.output import Output
    from modelkeep.runtime.named import NamedModel
    from modelkeep.store.leases import Lease


def look(place: Decided, models: Sequence[str]) -> list[NamedModel]:
    """Find out what the keep has of each model."""
    if not models:
        return []
    from modelkeep.hub.cache import HubCache
    from modelkeep.runtime import named
    from modelkeep.store.layout import StoreLayout

    layout, hub = StoreLayout(Path(place.value, "store")), HubCache(Path(place.value, "hub"))
    return [named.look(layout, hub, name) for name in models]


def fetch(output: Output, place: Decided, models: Sequence[str]) -> None:
    """Pull what the keep lacks of the models, all of which stay. Raises what a pull raises."""
    lacking = [model.name for model in look(place, models) if not model.complete]
    if not lacking:
        return
    from modelkeep.cli import human
    from modelkeep.cli.options import Invocation

    keep = Invocation(output, keep=place.value).open_keep()
    with keep.together(models):
        for name in lacking:
            with output.progress(f"pull {name}") as progress:
                pulled = keep.pull(name, progress=progress)
            output.remark(
                f"modelkeep: {name} is here now: {human.counted(pulled.files, 'file')},"
                f" {human.size(pulled.bytes_total)} in {human.duration(pulled.seconds)}"
            )


@contextmanager
def held(
    output: Output,
    place: Decided,
    models: Sequence[NamedModel],
    command: Sequence[str],
    *,
    online: bool,
) -> Iterator[bool]:
    """Lease the models for this process, which goes on to be the command, and note their use.

    Yields False where one was removed or has moved since it was looked at: look again. The leases
    end with the block, unless that has become the command. Online the command may bring a newer
    commit by itself, so the branch is leased as well. A keep that cannot be written is used without
    leases, which is said.
    """
    if not models:
        yield True
        return
    from modelkeep.hub.cache import HubCache
    from modelkeep.runtime import named
    from modelkeep.store.layout import StoreLayout
    from modelkeep.store.leases import Leases
    from modelkeep.store.marks import wait_out_all

    layout, hub = StoreLayout(Path(place.value, "store")), HubCache(Path(place.value, "hub"))
    leases = Leases(layout)
    taken: list[Lease] = []
    try:
        try:
            leases.tidy()
            for model in models:
                taken.extend(named.lease(leases, hub, model, command, online=online))
            wait_out_all(layout)
        except ModelkeepError as error:
            why = "you cannot write the keep" if isinstance(error, AccessError) else error.message
            output.warn(f"nobody can see what the command uses, so it may be removed: {why}")
        there = all(named.stands(hub, model) for model in models)
        if there:
            for model in models:
                named.mark_used(layout, hub, model)
        yield there
    finally:
        for each in taken:
            with suppress(ModelkeepError):
                leases.drop(each.id)


def lack(model: NamedModel, *, offline: bool) -> str | None:
    """Say what is missing of a model, and whether the command can get it."""
    if model.complete:
        return None
    if model.commit is None:
        lack = f"`{model.name}` is not in the keep"
    elif model.missing is None:
        lack = f"`{model.name}` may be incomplete: nobody noted what it should hold"
    else:
        files = "1 file" if model.missing == 1 else f"{model.missing} files"
        lack = f"`{model.name}` lacks {files}"
    if offline:
        return f"{lack}, and offline nothing can be fetched: modelkeep pull {model.name}"
    return f"{lack}: modelkeep pull {model.name}"


def age(model: NamedModel) -> str:
    """Say which commit of a model is here, and since when."""
    from modelkeep.cli import human
    from modelkeep.times import utc_text

    assert model.commit is not None
    since = "" if model.since is None else f" of {human.ago(utc_text(model.since))}"
    return human.commit(model.commit) + since
