"""A command started by `modelkeep exec` cannot tell, but for its environment."""

from __future__ import annotations

import json
import os
import pty
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from modelkeep.keep import Keep
from tests.filesystems import bind
from tests.hub import Hub, Repository
from tests.runtime.conftest import MODELKEEP, Modelkeep

EXEC = (*MODELKEEP, "exec", "--offline", "--")
IGNORED = "sed -n 's/^SigIgn:[[:space:]]*//p' /proc/self/status"


def start(*command: str, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen([*EXEC, *command], text=True, **options)  # type: ignore[call-overload,no-any-return]


def output_of(*command: str, **options: object) -> str:
    with start(*command, stdout=subprocess.PIPE, **options) as process:
        text, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    return text


def test_the_exit_code_is_the_commands(keep: Keep, modelkeep: Modelkeep) -> None:
    assert modelkeep("exec", "--offline", "--", "sh", "-c", "exit 42").returncode == 42


def test_a_death_by_signal_is_the_commands(keep: Keep, modelkeep: Modelkeep) -> None:
    done = modelkeep("exec", "--offline", "--", "sh", "-c", "kill -TERM $$")
    assert done.returncode == -signal.SIGTERM


def test_the_process_stays_the_same(keep: Keep) -> None:
    with start("sh", "-c", "echo $$", stdout=subprocess.PIPE) as process:
        text, _ = process.communicate(timeout=30)
    assert int(text) == process.pid


def test_a_signal_reaches_the_command(keep: Keep) -> None:
    script = "trap 'echo told; exit 3' USR1; echo ready; while :; do sleep 0.05; done"
    with start("sh", "-c", script, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGUSR1)
        assert process.stdout.read() == "told\n"
        assert process.wait(10) == 3


def test_stdin_is_the_commands(keep: Keep) -> None:
    with start("cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        text, _ = process.communicate("some\ninput", timeout=30)
    assert text == "some\ninput"


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- 2>&-"])
def test_what_was_closed_stays_closed(keep: Keep, closed: str) -> None:
    look = "import os; print(sorted(int(fd) for fd in os.listdir('/proc/self/fd'))[:-1])"
    command = shlex.join([*EXEC, sys.executable, "-c", look])
    wanted = subprocess.run(
        ["sh", "-c", f"exec {shlex.join([sys.executable, '-c', look])} {closed}"],
        capture_output=True,
        text=True,
        check=True,
    )
    got = subprocess.run(
        ["sh", "-c", f"exec {command} {closed}"], capture_output=True, text=True, check=True
    )
    assert got.stdout == wanted.stdout


def test_open_files_are_handed_on_and_none_is_added(keep: Keep, tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as log:
        number = log.fileno()
        text = output_of("bash", "-c", f"ls /proc/$$/fd; echo noted >&{number}", pass_fds=[number])
    assert set(text.split()) - {"255"} == {"0", "1", "2", str(number)}  # 255 is bash's own
    assert (tmp_path / "log").read_text() == "noted\n"


def test_signals_that_python_ignores_are_not_ignored(keep: Keep) -> None:
    ignored = int(output_of("sh", "-c", IGNORED), 16)
    assert not ignored & (1 << signal.SIGPIPE - 1)
    assert not ignored & (1 << signal.SIGXFSZ - 1)


def test_signals_that_were_ignored_stay_ignored(keep: Keep) -> None:
    text = output_of(
        *("sh", "-c", IGNORED), preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)
    )
    assert int(text, 16) & (1 << signal.SIGHUP - 1)


def test_a_reader_that_leaves_ends_the_command(keep: Keep) -> None:
    line = f"{shlex.join([*EXEC, 'yes'])} | head -n 1"
    done = subprocess.run(
        ["bash", "-c", f"{line}; echo ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout == f"y\n{128 + signal.SIGPIPE}\n"


def test_a_terminal_is_the_commands(keep: Keep) -> None:
    master, slave = pty.openpty()
    script = "test -t 0 && test -t 1 && tty && stty size"
    subprocess.run(["stty", "rows", "33", "cols", "99"], stdin=slave, check=True)
    with start("sh", "-c", script, stdin=slave, stdout=slave, stderr=subprocess.DEVNULL) as process:
        assert process.wait(30) == 0
    shown = os.read(master, 4096).decode()
    assert os.ttyname(slave) in shown
    assert "33 99" in shown
    os.close(master)
    os.close(slave)


def test_ctrl_c_is_the_commands(keep: Keep) -> None:
    pid, master = pty.fork()
    if pid == 0:
        script = "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.05; done"
        os.execv(sys.executable, [*EXEC, "sh", "-c", script])
    shown = b""
    while b"ready" not in shown:
        shown += os.read(master, 4096)
    os.write(master, b"\x03")
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 9
    os.close(master)


@pytest.mark.parametrize("extra", [{}, {"LC_ALL": "C"}, {"LC_CTYPE": "C.UTF-8"}])
def test_the_rest_of_the_environment_is_untouched(
    keep: Keep, modelkeep: Modelkeep, extra: dict[str, str]
) -> None:
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ["HOME"],
        "MODELKEEP_HOME": str(keep.directory),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "7",
        "ODD": "\udcff\n=",
    } | extra
    done = subprocess.run([*EXEC, "env", "-0"], env=environ, capture_output=True, check=True)
    entries = os.fsdecode(done.stdout).rstrip("\0").split("\0")
    found = dict(entry.split("=", 1) for entry in entries)
    assert found == environ | {
        "HF_HUB_CACHE": str(keep.directory / "hub"),
        "HF_HUB_DISABLE_SHARED_BLOBS": "1",
        "HF_HUB_OFFLINE": "1",
    }


def test_the_arguments_are_the_commands(keep: Keep) -> None:
    words = ["--model", "x y", "", "--", "*", "--offline"]
    show = "import json, sys; print(json.dumps(sys.argv[1:]))"
    assert json.loads(output_of(sys.executable, "-c", show, *words)) == words


def test_dashes_before_the_command_may_be_left_out(keep: Keep, modelkeep: Modelkeep) -> None:
    done = modelkeep("exec", "--offline", "echo", "--online", "--help")
    assert done.stdout == "--online --help\n"


def test_a_script_without_a_first_line_is_one_for_sh(
    keep: Keep, modelkeep: Modelkeep, tmp_path: Path
) -> None:
    script = tmp_path / "script"
    script.write_text('echo "got $1"\n')
    script.chmod(0o755)
    assert modelkeep("exec", "--offline", script, "this").stdout == "got this\n"


# Failures of its own


@pytest.mark.parametrize(
    "arguments",
    [
        ["--nonsense", "true"],
        [],
        ["--model"],
        ["--model", "../x", "true"],
        ["--keep", "/nowhere", "true"],
        ["--format", "xml", "true"],
    ],
)
def test_its_own_failures_end_with_125(
    keep: Keep, modelkeep: Modelkeep, arguments: list[str]
) -> None:
    done = modelkeep("exec", *arguments)
    assert done.returncode == 125
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["no-such-command", "/no/such/command", ""])
def test_a_command_that_is_not_there_ends_with_127(
    keep: Keep, modelkeep: Modelkeep, command: str
) -> None:
    assert modelkeep("exec", "--offline", "--", command).returncode == 127


def test_a_missing_interpreter_is_named(keep: Keep, modelkeep: Modelkeep, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    done = modelkeep("exec", "--offline", "--", script)
    assert done.returncode == 127
    assert "interpreter" in done.stderr


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_a_command_that_cannot_be_executed_ends_with_126(
    keep: Keep, modelkeep: Modelkeep, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "thing"
    path.mkdir() if kind == "folder" else path.write_text("x")
    assert modelkeep("exec", "--offline", "--", path).returncode == 126


def test_a_failure_is_a_document_too(keep: Keep, modelkeep: Modelkeep) -> None:
    done = modelkeep("exec", "--format", "json", "--offline", "no-such-command")
    error = json.loads(done.stdout)["error"]
    assert (error["kind"], error["exit_code"]) == ("command_not_found", 127)


# The decision


def told(done: subprocess.CompletedProcess[str]) -> str:
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("modelkeep: ")]
    return line


def test_an_endpoint_that_answers_leaves_it_online(
    keep: Keep, hub: Hub, modelkeep: Modelkeep
) -> None:
    done = modelkeep("exec", "sh", "-c", "echo ${HF_HUB_OFFLINE-unset}")
    assert done.stdout == "unset\n"
    assert told(done).startswith("modelkeep: online, because ")
    assert "--offline" in told(done)
    assert len(hub.requests) == 1


def test_the_endpoint_is_asked_once_a_minute(keep: Keep, hub: Hub, modelkeep: Modelkeep) -> None:
    modelkeep("exec", "true")
    modelkeep("exec", "true")
    assert "answers" in modelkeep("env", "--format", "json").stdout
    assert len(hub.requests) == 1


def test_env_never_asks_the_endpoint(keep: Keep, hub: Hub, modelkeep: Modelkeep) -> None:
    assert modelkeep("env").returncode == 0
    assert hub.requests == []


def test_env_knows_what_exec_found(keep: Keep, modelkeep: Modelkeep) -> None:
    modelkeep("exec", "true")
    assert "export HF_HUB_OFFLINE=1\n" in modelkeep("env").stdout


def test_an_endpoint_that_swallows_everything_costs_little(
    keep: Keep, modelkeep: Modelkeep
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        began = time.monotonic()
        done = modelkeep("exec", "sh", "-c", "echo $HF_HUB_OFFLINE", env={"HF_ENDPOINT": address})
        elapsed = time.monotonic() - began
    assert done.stdout == "1\n"
    assert elapsed < 2.5
    assert "--online" in told(done)


def test_a_complete_model_is_not_asked_for(
    keep: Keep, hub: Hub, tiny_repo: Repository, modelkeep: Modelkeep
) -> None:
    commit = keep.pull("org/tiny").commit
    hub.clear_log()
    done = modelkeep("exec", "--model", "org/tiny", "sh", "-c", "echo $HF_HUB_OFFLINE")
    assert done.stdout == "1\n"
    assert hub.requests == []
    assert commit[:8] in told(done)
    assert "just now" in told(done)


def test_a_use_is_noted_on_every_file(
    keep: Keep, hub: Hub, tiny_repo: Repository, modelkeep: Modelkeep
) -> None:
    keep.pull("org/tiny")
    for digest, _ in keep.store.blobs():
        keep.store.mark_used(digest)
        os.utime(keep.store.layout.used(digest), (1000, 1000))
    modelkeep("exec", "--model", "org/tiny", "true")
    stamps = [keep.store.last_used(digest) for digest, _ in keep.store.blobs()]
    assert len(stamps) == 3
    assert all(stamp is not None and stamp > 1000 for stamp in stamps)


def test_what_is_missing_is_said_before_the_command_starts(
    keep: Keep, modelkeep: Modelkeep
) -> None:
    done = modelkeep("exec", "--offline", "--model", "org/none", "sh", "-c", "echo started >&2")
    lines = done.stderr.splitlines()
    assert "`org/none` is not in the keep" in lines[0]
    assert "modelkeep pull org/none" in lines[0]
    assert lines[-1] == "started"
    assert done.returncode == 0


def test_a_model_with_holes_is_said_to_have_them(
    keep: Keep, hub: Hub, tiny_repo: Repository, modelkeep: Modelkeep
) -> None:
    keep.pull("org/tiny", include=["config.json"])
    done = modelkeep("exec", "--model", "org/tiny", "true")
    assert "`org/tiny` lacks 2 files" in done.stderr
    assert told(done).startswith("modelkeep: online")


@pytest.mark.real
def test_a_read_only_keep_is_used_offline(
    keep: Keep, hub: Hub, modelkeep: Modelkeep, tmp_path: Path
) -> None:
    with bind(tmp_path, keep.directory) as mount:
        subprocess.run(["mount", "-o", "remount,bind,ro", mount], check=True)
        done = modelkeep("--keep", mount, "exec", "sh", "-c", "echo $HF_HUB_OFFLINE")
    assert done.stdout == "1\n"
    assert "read-only" in told(done)
    assert hub.requests == []


def test_explain_starts_nothing(keep: Keep, modelkeep: Modelkeep, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    done = modelkeep(
        *("exec", "--offline", "--explain", "--model", "org/none", "--format", "json"),
        *("touch", mark),
    )
    document = json.loads(done.stdout)
    assert not mark.exists()
    assert document["offline"] == {"value": True, "reason": "--offline was given"}
    assert document["set"]["HF_HUB_OFFLINE"] == "1"
    assert document["models"] == [{"repo": "org/none", "commit": None, "missing": None}]
    assert document["command"] == ["touch", str(mark)]
    assert set(document["reasons"]) == {*document["set"], *document["unset"]}


def test_explain_speaks_to_people(keep: Keep, modelkeep: Modelkeep) -> None:
    done = modelkeep("exec", "--offline", "--explain", "echo", "a b")
    assert "--offline was given" in done.stdout
    assert "echo 'a b'" in done.stdout


def test_variables_that_the_client_cannot_read_are_reported(
    keep: Keep, modelkeep: Modelkeep
) -> None:
    environ = {"HF_HUB_ETAG_TIMEOUT": "soon"}
    done = modelkeep("exec", "true", env=environ, without=["HF_ENDPOINT"])
    assert done.returncode == 125
    assert "soon" in done.stderr


def test_empty_variables_do_not_stop_the_probe(keep: Keep, modelkeep: Modelkeep) -> None:
    environ = {
        "HF_HUB_ETAG_TIMEOUT": "",
        "HF_ENDPOINT": "",
        "https_proxy": "http://127.0.0.1:9",
        "no_proxy": "",
    }
    done = modelkeep("exec", "sh", "-c", "echo ${HF_ENDPOINT-unset} $HF_HUB_OFFLINE", env=environ)
    assert done.stdout == "unset 1\n"
