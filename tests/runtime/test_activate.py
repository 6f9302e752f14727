"""Making shells use a keep from the next login on."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from modelkeep.errors import SettingsError
from modelkeep.runtime import activate

KEEP = Path("/srv/a keep")


def user(home: Path, shell: str = "/bin/bash") -> dict[str, str]:
    return {"HOME": str(home), "SHELL": shell}


def install(home: Path, keep: Path = KEEP, shell: str = "/bin/bash") -> Path:
    return activate.install(keep, environ=user(home, shell), machine=False)


def test_the_lines_make_stock_clients_use_the_keep() -> None:
    done = subprocess.run(
        ["sh", "-c", activate.lines(KEEP) + 'printf "%s|%s" "$HF_HUB_CACHE" "$MODELKEEP_HOME"'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "/srv/a keep/hub|/srv/a keep"


def test_a_machine_has_a_file_of_its_own(tmp_path: Path) -> None:
    profile = tmp_path / "profile.d" / "modelkeep.sh"
    assert activate.install(KEEP, machine=True, profile=profile) == profile
    assert activate.lines(KEEP) in profile.read_text()
    assert stat.S_IMODE(profile.stat().st_mode) == 0o644


@pytest.mark.parametrize(
    ("shell", "file"),
    [
        ("/bin/bash", ".bashrc"),
        ("/usr/bin/zsh", ".zshrc"),
        ("/usr/bin/fish", ".config/fish/config.fish"),
        ("/bin/dash", ".profile"),
    ],
)
def test_each_shell_has_its_file(tmp_path: Path, shell: str, file: str) -> None:
    assert install(tmp_path, shell=shell) == tmp_path / file
    assert "HF_HUB_CACHE" in (tmp_path / file).read_text()


def test_doing_it_again_changes_nothing(tmp_path: Path) -> None:
    rc = tmp_path / ".bashrc"
    rc.write_text("alias ll='ls -l'")
    install(tmp_path)
    first = rc.read_text(), rc.stat().st_mtime_ns
    install(tmp_path)
    assert (rc.read_text(), rc.stat().st_mtime_ns) == first


def test_another_keep_takes_the_place_of_the_first(tmp_path: Path) -> None:
    rc = tmp_path / ".bashrc"
    rc.write_text("before\n")
    install(tmp_path)
    with rc.open("a") as file:
        file.write("after\n")
    install(tmp_path, Path("/other"))
    text = rc.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert text.count("HF_HUB_CACHE=") == 1
    assert "export HF_HUB_CACHE=/other/hub\n" in text


def test_mode_and_owner_stay(tmp_path: Path) -> None:
    rc = tmp_path / ".bashrc"
    rc.write_text("x\n")
    rc.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(rc, 1234, 4321)
    before = rc.stat()
    install(tmp_path)
    after = rc.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (
        before.st_mode,
        before.st_uid,
        before.st_gid,
    )


def test_a_linked_file_is_followed(tmp_path: Path) -> None:
    dotfiles = tmp_path / "dotfiles"
    dotfiles.mkdir()
    (dotfiles / "bashrc").write_text("mine\n")
    rc = tmp_path / ".bashrc"
    rc.symlink_to("dotfiles/bashrc")
    install(tmp_path)
    assert rc.is_symlink()
    assert (dotfiles / "bashrc").read_text().startswith("mine\n")
    assert sorted(path.name for path in dotfiles.iterdir()) == ["bashrc"]


def test_bytes_that_are_no_text_stay(tmp_path: Path) -> None:
    rc = tmp_path / ".bashrc"
    rc.write_bytes(b"# \xff\xfe\n")
    install(tmp_path)
    assert rc.read_bytes().startswith(b"# \xff\xfe\n")


def test_half_a_block_is_left_to_its_owner(tmp_path: Path) -> None:
    rc = tmp_path / ".bashrc"
    rc.write_text("# >>> modelkeep >>>\nexport X=1\n")
    with pytest.raises(SettingsError):
        install(tmp_path)
    assert rc.read_text() == "# >>> modelkeep >>>\nexport X=1\n"


def test_a_login_shell_uses_the_keep(tmp_path: Path) -> None:
    install(tmp_path)
    done = subprocess.run(
        ["bash", "-ic", 'printf %s "$HF_HUB_CACHE"'],
        env=user(tmp_path) | {"PATH": os.environ["PATH"]},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "/srv/a keep/hub"


def loaders_look_in(profile: Path) -> str:
    done = subprocess.run(
        ["sh", "-c", f'. "{profile}"; printf %s "${{HF_HUB_CACHE-unset}}"'],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_the_file_of_a_machine_does_nothing_without_the_keep(tmp_path: Path) -> None:
    keep = tmp_path / "it's a keep"
    profile = activate.install(keep, machine=True, profile=tmp_path / "modelkeep.sh")
    assert loaders_look_in(profile) == "unset"
    (keep / "hub").mkdir(parents=True)
    assert loaders_look_in(profile) == f"{keep}/hub"


@pytest.mark.parametrize(
    ("above", "keep", "hub", "serves"),
    [
        (0o755, 0o755, 0o755, True),
        (0o711, 0o711, 0o755, True),
        (0o700, 0o755, 0o755, False),
        (0o755, 0o700, 0o755, False),
        (0o755, 0o755, 0o711, False),
        (0o755, 0o2770, 0o2770, True),
        (0o700, 0o2770, 0o2775, False),
        (0o755, 0o770, 0o775, False),
    ],
)
def test_whether_others_get_to_a_keep(above: int, keep: int, hub: int, serves: bool) -> None:
    with TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        for path, mode in ((folder, above), (folder / "k", keep), (folder / "k/hub", hub)):
            path.mkdir(exist_ok=True)
            path.chmod(mode)
        assert activate.serves_others(folder / "k") is serves
        folder.chmod(0o700)


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone activates for everybody")
def test_root_keeps_a_private_keep_to_itself(tmp_path: Path) -> None:
    keep = tmp_path / "keep"
    (keep / "hub").mkdir(parents=True)
    keep.chmod(0o700)
    profile = tmp_path / "modelkeep.sh"
    file = activate.install(keep, environ=user(tmp_path), profile=profile)
    assert file == tmp_path / ".bashrc"
    assert not profile.exists()
