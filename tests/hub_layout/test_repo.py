"""Names of repos as people write them; whatever would leave the keep is no name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelkeep.errors import InvalidRepoError
from modelkeep.hub.repo import Repo, RepoType, check_revision, parse

MODEL, DATASET = RepoType.MODEL, RepoType.DATASET


@pytest.mark.parametrize(
    ("text", "repo", "revision"),
    [
        ("org/name", Repo(MODEL, "org/name"), None),
        ("gpt2", Repo(MODEL, "gpt2"), None),
        ("org/name@main", Repo(MODEL, "org/name"), "main"),
        ("org/name@refs/pr/1", Repo(MODEL, "org/name"), "refs/pr/1"),
        ("org/na.me-1_x@v1.0+cu12", Repo(MODEL, "org/na.me-1_x"), "v1.0+cu12"),
        ("models/org/name", Repo(MODEL, "org/name"), None),
        ("datasets/org/name@v1", Repo(DATASET, "org/name"), "v1"),
        ("datasets/squad", Repo(DATASET, "squad"), None),
        ("spaces/org/app", Repo(RepoType.SPACE, "org/app"), None),
        ("kernels/org/k", Repo(RepoType.KERNEL, "org/k"), None),
        ("hf://datasets/org/name@main", Repo(DATASET, "org/name"), "main"),
        ("hf://org/name", Repo(MODEL, "org/name"), None),
    ],
)
def test_what_is_a_name(text: str, repo: Repo, revision: str | None) -> None:
    assert parse(text) == (repo, revision)
    assert Repo.from_folder(repo.folder) == repo
    assert parse(str(repo))[0] == repo


@pytest.mark.parametrize(
    "text",
    [
        *("", "/", "org/", "/name", "org//name", "org/name/", "a/b/c", "org/../x", "../x", ".."),
        *("./x", "org/.", "org/..", "org/.hidden", "-x/y", "org/name-", "org/na--me", "a..b/c"),
        *("org/na me", "org/name\n", "\norg/name", "org/na\0me", "org\\name", "org/né", "~/x"),
        *("org/" + "x" * 97, "hf://", "hf://../x", "https://huggingface.co/org/name", "/etc"),
        *("org/name@", "org/name@../x", "org/name@/x", "org/name@a//b", "org/name@a/./b"),
        *("org/name@a/../../b", "org/name@x\n", "org/name@-x", "org/name@a b", "org/name@\0"),
    ],
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(InvalidRepoError) as caught:
        parse(text)
    assert str(caught.value).isprintable()
    assert caught.value.exit_code == 2


def test_a_kind_said_twice_must_agree() -> None:
    assert parse("org/name", type=DATASET)[0].type is DATASET
    assert parse("datasets/org/name", type=DATASET)[0].type is DATASET
    with pytest.raises(InvalidRepoError):
        parse("datasets/org/name", type=MODEL)


@given(st.text(max_size=30))
def test_no_text_leads_out_of_the_cache(text: str) -> None:
    try:
        repo, revision = parse(text)
    except InvalidRepoError:
        return
    assert "/" not in repo.folder
    assert repo.folder not in (".", "..")
    if revision is not None:
        assert ".." not in revision.split("/")
        assert not revision.startswith("/")
        assert check_revision(revision) == revision


@pytest.mark.parametrize("name", ["", "models--", "modelss--a", "CACHEDIR.TAG", ".locks", "blobs"])
def test_other_folders_are_no_repos(name: str) -> None:
    assert Repo.from_folder(name) is None


def test_patterns_match_the_id_the_name_or_the_whole() -> None:
    bert = Repo(MODEL, "google-bert/bert-base-uncased")
    assert all(bert.matches(p) for p in ("bert-*", "google-bert/*", "*uncased", bert.id))
    assert not any(bert.matches(p) for p in ("bert", "BERT-*", "models/*"))
    assert Repo(DATASET, "org/data").matches("datasets/*")
