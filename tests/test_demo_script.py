"""`make demo` starts a stand-in Hub only where it must, and leaves no process behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "demo.py"
NOBODY_LISTENS = "http://127.0.0.1:1"
SERVER = """
import os, pathlib, time
pathlib.Path("server.pid").write_text(str(os.getpid()))
print("http://127.0.0.1:9", flush=True)
time.sleep(60)
"""
DEMO = """#!/bin/sh
echo "$HF_ENDPOINT token=$HF_TOKEN $*"
{body}
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The script beside a server and a `modelkeep` that only note what happens to them."""
    root = tmp_path / "a checkout"
    for name in ("bin", "scripts", "tests"):
        (root / name).mkdir(parents=True)
    shutil.copy(SCRIPT, root / "scripts")
    (root / "tests" / "serve.py").write_text(SERVER)
    (root / "bin" / "python").symlink_to(sys.executable)
    return root


def start(checkout: Path, body: str, endpoint: str, *arguments: str) -> subprocess.Popen[str]:
    command = checkout / "bin" / "modelkeep"
    command.write_text(DEMO.format(body=body))
    command.chmod(0o755)
    libraries = str(Path(huggingface_hub.__file__).parent.parent)
    return subprocess.Popen(
        [checkout / "bin" / "python", checkout / "scripts" / "demo.py", *arguments],
        env=os.environ | {"PYTHONPATH": libraries, "HF_ENDPOINT": endpoint, "HF_TOKEN": "hf_mine"},
        cwd=checkout.parent,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def server_ended(checkout: Path) -> bool:
    process = int((checkout / "server.pid").read_text())
    return not Path(f"/proc/{process}").exists()


@contextmanager
def answering(status: int) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_without_a_network_the_stand_in_serves_and_ends_with_the_demo(checkout: Path) -> None:
    with start(checkout, "exit 0", NOBODY_LISTENS, "--keep", "a dir") as demo:
        output, _ = demo.communicate(timeout=30)
    assert output == "http://127.0.0.1:9 token= demo --keep a dir\n"
    assert demo.returncode == 0
    assert server_ended(checkout)


def test_the_exit_code_of_the_demo_is_passed_on(checkout: Path) -> None:
    with start(checkout, "exit 5", NOBODY_LISTENS) as demo:
        demo.communicate(timeout=30)
    assert demo.returncode == 5
    assert server_ended(checkout)


def test_a_hub_that_answers_is_used_as_it_is(checkout: Path) -> None:
    with answering(200) as endpoint:
        with start(checkout, "exit 0", endpoint) as demo:
            output, _ = demo.communicate(timeout=30)
        assert output == f"{endpoint} token=hf_mine demo\n"
    assert not (checkout / "server.pid").exists()


def test_a_proxy_that_refuses_is_no_hub(checkout: Path) -> None:
    with answering(403) as endpoint, start(checkout, "exit 0", endpoint) as demo:
        output, _ = demo.communicate(timeout=30)
    assert output.startswith("http://127.0.0.1:9 ")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_cleans_up_before_the_server_ends(
    checkout: Path, number: signal.Signals
) -> None:
    body = "trap 'sleep 0.5; touch cleaned; exit 130' INT TERM; touch ready; sleep 60 & wait"
    with start(checkout, body, NOBODY_LISTENS) as demo:
        deadline = time.monotonic() + 30
        while not (checkout.parent / "ready").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        if number == signal.SIGINT:
            os.killpg(demo.pid, number)  # as a terminal does
        else:
            demo.send_signal(number)
        assert demo.wait(30) == 130
        # The shell's own `sleep` holds the pipe still.
        os.killpg(demo.pid, signal.SIGKILL)
    assert (checkout.parent / "cleaned").exists()
    assert server_ended(checkout)
