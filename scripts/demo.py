"""Runs `modelkeep demo` against the Hub, or against the stand-in Hub where there is no network.

usage: demo.py [ARGUMENT...]     the arguments of `modelkeep demo`; its exit code is ours
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from huggingface_hub import constants

ROOT = Path(__file__).resolve().parent.parent
MODELKEEP = Path(sys.executable).with_name("modelkeep")
PROBE_SECONDS = 2.0
START_SECONDS = 60.0


def hub_answers(endpoint: str) -> bool:
    """Whether a request to the endpoint gets through, and not only to a proxy that refuses it."""
    request = urllib.request.Request(endpoint, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=PROBE_SECONDS):
            return True
    except urllib.error.HTTPError as error:
        return error.code not in {403, 407} and error.code < 500
    except (OSError, ValueError):
        return False


@contextmanager
def stand_in_hub() -> Iterator[str]:
    """The endpoint of a stand-in Hub that lives as long as the context."""
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.serve", "--minilm", "--port", "0", "--print-endpoint"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for the demo; the server is ended below
    )
    try:
        yield first_line(server)
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        if server.stdout is not None:
            server.stdout.close()


def first_line(server: subprocess.Popen[str]) -> str:
    """What the server prints once it listens."""
    if server.stdout is None:
        raise AssertionError
    with selectors.DefaultSelector() as selector:
        selector.register(server.stdout, selectors.EVENT_READ)
        ready = selector.select(START_SECONDS)
    line = server.stdout.readline().strip() if ready else ""
    if not line:
        raise SystemExit("error: the stand-in Hub did not start")
    return line


def environment_for(endpoint: str) -> dict[str, str]:
    """Ours, but towards a loopback server: around proxies, and without the person's token."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE"}
    }
    around = ",".join(filter(None, [environment.get("NO_PROXY"), "127.0.0.1", "localhost"]))
    return environment | {
        "HF_ENDPOINT": endpoint,
        "HF_TOKEN_PATH": os.devnull,
        "NO_PROXY": around,
        "no_proxy": around,
    }


def run_demo(arguments: list[str], environment: dict[str, str] | None = None) -> int:
    """Runs the demo to its end, however it is interrupted, so that it can clean up."""
    demo = subprocess.Popen([MODELKEEP, "demo", *arguments], env=environment)

    def pass_on(number: int, _frame: FrameType | None) -> None:
        demo.send_signal(number)

    signal.signal(signal.SIGTERM, pass_on)
    # The terminal sends Ctrl-C to the demo as well; a handler, unlike SIG_IGN, is not inherited.
    signal.signal(signal.SIGINT, lambda _number, _frame: None)
    code = demo.wait()
    return 128 - code if code < 0 else code


def main() -> int:
    """Chooses the Hub, runs the demo and returns its exit code."""
    # Until the demo runs, ending us must still end the server: as an exception, not at once.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _frame: sys.exit(128 + number))
    if hub_answers(constants.ENDPOINT):
        return run_demo(sys.argv[1:])
    print("the Hub cannot be reached: the stand-in Hub serves MiniLM on loopback", file=sys.stderr)
    with stand_in_hub() as endpoint:
        return run_demo(sys.argv[1:], environment_for(endpoint))


if __name__ == "__main__":
    sys.exit(main())
