"""What people read: results, hints, the next command to type."""

from __future__ import annotations

import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import COMMAND, Modelkeep, Result
from tests.hub import Hub, Repository, Slow


def test_pull_ends_with_the_line_that_loads_and_what_was_saved(
    modelkeep: Modelkeep, hub: Hub, tiny_repo: Repository, keep_dir: Path
) -> None:
    first = modelkeep("pull", "org/tiny")
    assert first.code == 0
    assert "fetched 300 kB" in first.out
    assert 'transformers.AutoModel.from_pretrained("org/tiny")' in first.out
    assert "pull org/tiny: 3 files, 300 kB" in first.err
    assert 'eval "$(modelkeep env)"' in first.err

    again = modelkeep("pull", "org/tiny@main", env={"HF_HUB_CACHE": str(keep_dir / "hub")})
    assert "fetched 0 B, stored 0 B, saved 300 kB that was here" in again.out
    assert "modelkeep env" not in again.err


@pytest.mark.parametrize(
    ("name", "kind", "files", "line"),
    [
        (
            "org/chat",
            "model",
            {"config.json": b'{"architectures": ["LlamaForCausalLM"]}'},
            'AutoModelForCausalLM.from_pretrained("org/chat")',
        ),
        (
            "org/embed",
            "model",
            {"config.json": b"{}", "modules.json": b"[]"},
            'SentenceTransformer("org/embed")',
        ),
        (
            "org/paint",
            "model",
            {"model_index.json": b"{}"},
            'DiffusionPipeline.from_pretrained("org/paint")',
        ),
        ("org/data", "dataset", {"a.csv": b"x"}, 'load_dataset("org/data")'),
        ("org/quant", "model", {"q4.gguf": b"GGUF"}, "q4.gguf"),
    ],
)
def test_the_loading_line_fits_what_was_pulled(
    modelkeep: Modelkeep, hub: Hub, name: str, kind: str, files: dict[str, bytes], line: str
) -> None:
    hub.repo(name, kind).commit(files)
    shown = modelkeep("pull", name, "--type", kind)
    assert shown.code == 0
    (load,) = [text for text in shown.out.splitlines() if text.strip().startswith("load")]
    assert line in load


def test_listings_are_stable_columns_on_a_pipe(modelkeep: Modelkeep, pulled: Result) -> None:
    shown = modelkeep("ls")
    heading, row = shown.out.splitlines()
    assert heading.split() == ["REPO", "SIZE", "UNIQUE", "REVISIONS", "FILES", "USED", "STATE"]
    assert row.split()[:3] == ["org/tiny", "300", "kB"]
    assert "\x1b" not in shown.out + shown.err
    assert "1 repo; the store holds 300 kB" in shown.err
    for pattern in ("tiny", "t*", "org/*"):
        assert modelkeep("ls", pattern, "--format", "quiet").out == "org/tiny\n"
    missed = modelkeep("ls", "nothing-*")
    assert (missed.code, missed.out) == (1, "")


def test_a_repo_that_no_branch_leads_to_is_said_so(
    modelkeep: Modelkeep, pulled: Result, keep_dir: Path
) -> None:
    """As a removal leaves it that ended between the branch and the revision."""
    assert modelkeep("ls").out.splitlines()[1].endswith(" ok")
    (keep_dir / "hub/models--org--tiny/refs/main").unlink()
    assert modelkeep("ls").out.splitlines()[1].endswith(" no ref")
    assert modelkeep("show", "org/tiny").out.startswith("org/tiny  (no ref)\n")


def test_quiet_prints_the_essential_value_alone(
    modelkeep: Modelkeep, pulled: Result, tmp_path: Path
) -> None:
    snapshot = pulled.repos[0]["snapshot"]
    run = modelkeep("pull", "org/tiny", "--format", "quiet")
    assert (run.out, run.err) == (f"{snapshot}\n", "")
    run = modelkeep("where", "org/tiny", "config.json", "--format", "quiet")
    assert (run.out, run.err) == (f"{snapshot}/config.json\n", "")
    run = modelkeep("add", snapshot, "--as", "me/mine", "--format", "quiet")
    assert run.out.startswith(f"{Path(snapshot).parents[2]}/models--me--mine/snapshots/")
    run = modelkeep("rm", "me/mine", "--yes", "--format", "quiet")
    assert (run.code, run.out, run.err) == (0, "", "")


def test_rm_asks_only_people(modelkeep: Modelkeep, pulled: Result) -> None:
    refused = modelkeep("rm", "org/tiny")
    assert refused.code == 2
    assert "hint: --yes" in refused.err
    assert modelkeep("ls", "--format", "quiet").out == "org/tiny\n"


def test_rm_removes_nothing_when_one_name_is_wrong(modelkeep: Modelkeep, pulled: Result) -> None:
    assert modelkeep("rm", "org/tiny", "org/none", "--yes").code == 1
    assert modelkeep("ls", "--format", "quiet").out == "org/tiny\n"


def test_shared_options_stand_before_or_after(
    modelkeep: Modelkeep, pulled: Result, keep_dir: Path
) -> None:
    elsewhere = {"MODELKEEP_HOME": "/nonexistent"}
    before = modelkeep("--keep", keep_dir, "--format", "quiet", "ls", env=elsewhere)
    after = modelkeep("ls", "--keep", keep_dir, "--format", "quiet", env=elsewhere)
    assert before == after
    assert before.out == "org/tiny\n"


def test_a_terminal_gets_tables_and_is_asked(
    modelkeep: Modelkeep, pulled: Result, keep_dir: Path
) -> None:
    assert "org/tiny" in on_terminal("ls")
    refused = on_terminal("rm", "org/tiny", answer=b"n\n")
    assert "remove these, up to 623 kB? [y/N]" in refused
    assert "nothing was changed" in refused
    agreed = on_terminal("rm", "org/tiny", answer=b"y\n")
    assert "freed 623 kB" in agreed


def test_no_color_is_honoured(modelkeep: Modelkeep) -> None:
    assert "\x1b[1;31merror:" in on_terminal("show", "org/none")
    assert "\x1b[" not in on_terminal("show", "org/none", NO_COLOR="1")


def test_ctrl_c_says_one_line_and_a_second_pull_goes_on(
    modelkeep: Modelkeep, hub: Hub, tiny_repo: Repository
) -> None:
    hub.fault("*", Slow(20_000), times=None, origin="cdn")
    pull = subprocess.Popen(
        [COMMAND, "pull", "org/tiny"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 30
    while not hub.matching(origin="cdn") and time.monotonic() < deadline:
        time.sleep(0.02)
    pull.send_signal(signal.SIGINT)
    out, err = pull.communicate(timeout=30)
    assert pull.returncode == 130
    assert out == ""
    assert err.splitlines()[-1] == "interrupted; run the same command again to go on"
    assert "Traceback" not in err
    hub.clear_faults()
    assert modelkeep("pull", "org/tiny").code == 0


def test_a_keep_without_repos_is_empty_only_where_the_store_is(
    modelkeep: Modelkeep, tiny_repo: Repository, keep_dir: Path
) -> None:
    assert modelkeep("init").code == 0
    assert "the keep is empty" in modelkeep("ls").err
    assert modelkeep("pull", "org/tiny").code == 0
    shutil.rmtree(keep_dir / "hub/models--org--tiny")
    said = modelkeep("ls").err
    assert "is empty" not in said
    assert "the store holds" in said


@pytest.mark.parametrize("module", ["modelkeep.cli.output", "click"])
def test_ctrl_c_while_modules_are_imported_says_nothing(module: str) -> None:
    program = f"""
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
sys.argv[1:] = ["ls"]
from modelkeep.cli import main
sys.exit(main())
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=30
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


def test_in_a_group_keep_the_umask_of_one_does_not_lock_out_the_others(
    modelkeep: Modelkeep, hub: Hub, tiny_repo: Repository, keep_dir: Path
) -> None:
    assert modelkeep("init", "--mode", "group").code == 0
    shell = f"umask 077; exec {COMMAND} pull org/tiny"
    subprocess.run(["sh", "-c", shell], check=True, capture_output=True)
    made = [keep_dir / "hub/models--org--tiny", *(keep_dir / "hub/models--org--tiny").rglob("*")]
    for path in made:
        mode = path.stat().st_mode
        assert mode & 0o040, path
        assert not path.is_dir() or mode & 0o070 == 0o070, path


def test_a_reader_that_leaves_is_no_error(modelkeep: Modelkeep, pulled: Result) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([COMMAND, "ls"], stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert done.returncode == 141
    assert done.stderr == ""


def on_terminal(*arguments: str, answer: bytes = b"", **environment: str) -> str:
    """What a person sees who runs the command on a terminal, answering once."""
    pid, terminal = pty.fork()
    if pid == 0:  # pragma: no cover - the child
        environ = {**os.environ, "TERM": "xterm", **environment}
        os.execve(COMMAND, [str(COMMAND), *arguments], environ)
    shown = b""
    deadline = time.monotonic() + 30
    try:
        while time.monotonic() < deadline:
            if not select.select([terminal], [], [], 0.1)[0]:
                continue
            try:
                data = os.read(terminal, 65536)
            except OSError:
                break
            if not data:
                break
            shown += data
            if answer and b"[y/N]" in shown:
                os.write(terminal, answer)
                answer = b""
    finally:
        os.close(terminal)
        os.waitpid(pid, 0)
    return shown.decode()
