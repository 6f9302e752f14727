"""Whether loaders that are started here use the keep, and write nowhere they should not."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelkeep.keep import Keep
from modelkeep.runtime.doctor import Status
from tests.filesystems import public_directory
from tests.runtime.doctor.conftest import found


def status(keep: Keep, check: str, **environ: str) -> Status:
    return found(keep, f"loaders.{check}", environ={"HOME": "/nowhere", **environ}).status


def test_loaders_should_look_in_the_keep(keep: Keep, tmp_path: Path) -> None:
    hub = keep.hub.directory
    assert status(keep, "cache", HF_HUB_CACHE=str(hub)) is Status.OK
    (tmp_path / "link").symlink_to(hub)
    assert status(keep, "cache", HUGGINGFACE_HUB_CACHE=str(tmp_path / "link")) is Status.OK
    elsewhere = found(keep, "loaders.cache", environ={"HF_HOME": "/elsewhere"})
    assert elsewhere.status is Status.WARN
    assert "/elsewhere/hub, because of HF_HOME" in elsewhere.evidence
    assert f'eval "$(modelkeep env --keep {keep.directory})"' in str(elsewhere.fix)


def test_a_shared_hf_home_is_found(keep: Keep, tmp_path: Path) -> None:
    home = tmp_path / "hf"
    home.mkdir(mode=0o755)
    assert status(keep, "hf_home", HF_HOME=str(home)) is Status.OK
    home.chmod(0o2775)
    assert status(keep, "hf_home", HF_HOME=str(home)) is Status.WARN
    assert status(keep, "hf_home", HF_HOME=str(keep.directory)) is Status.WARN
    assert status(keep, "hf_home") is Status.OK


def test_a_token_that_others_can_read_is_found(keep: Keep) -> None:
    with public_directory() as home:
        token = home / "token"
        assert status(keep, "token", HF_HOME=str(home)) is Status.SKIP
        token.write_text("hf_secret")
        token.chmod(0o600)
        assert status(keep, "token", HF_HOME=str(home)) is Status.OK
        token.chmod(0o644)
        finding = found(keep, "loaders.token", environ={"HF_TOKEN_PATH": str(token)})
        assert finding.status is Status.FAIL
        assert "every user of this machine can read the token" in finding.evidence
        assert f"chmod 600 {token}" in str(finding.fix)
        assert "hf_secret" not in str(finding)


def test_a_token_in_a_closed_home_is_well_whatever_its_mode(keep: Keep) -> None:
    with public_directory() as public:
        home = public / "home"
        home.mkdir(mode=0o700)
        (home / "token").write_text("hf_secret")
        (home / "token").chmod(0o644)
        (public / "link").symlink_to(home / "token")
        assert status(keep, "token", HF_HOME=str(home)) is Status.OK
        assert status(keep, "token", HF_TOKEN_PATH=str(public / "link")) is Status.OK
        home.chmod(0o711)
        assert status(keep, "token", HF_HOME=str(home)) is Status.FAIL


def test_transformers_cache_is_found(keep: Keep) -> None:
    assert status(keep, "transformers_cache") is Status.OK
    assert status(keep, "transformers_cache", TRANSFORMERS_CACHE="/x") is Status.WARN


@pytest.mark.parametrize("name", ["HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME"])
def test_empty_variables_are_found(keep: Keep, name: str) -> None:
    assert status(keep, "empty", HF_TOKEN="hf_x") is Status.OK
    assert status(keep, "empty", **{name: ""}) is Status.FAIL
    assert name in found(keep, "loaders.empty", environ={name: ""}).evidence
