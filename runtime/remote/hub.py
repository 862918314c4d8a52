"""Files of a Hugging Face hub: listed at one commit, fetched into its own cache, checked against its checksums.

`HF_ENDPOINT` names the hub, `HF_TOKEN` or the login of `hf auth login` who asks, `HF_HOME` where the cache lies.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from runtime.digests import digest_of, recall, remember
from runtime.errors import UserError
from runtime.located import Located, Place
from runtime.remote.listing import chosen, library, weights_in

_LOCATION = re.compile(
    r"hf://(?P<datasets>datasets/)?(?P<id>(?!datasets/)[^/@]+/[^/@]+)"
    r"(?:@(?P<revision>refs/(?:pr|convert)/[^/]+|[^/]+))?(?:/(?P<path>.*))?"
)
_CARD = ("README.md", "dataset_infos.json")
"""What the hub puts beside the data of a repository; a location that stands for all of it doesn't mean them."""


@dataclass(frozen=True)
class _Repository:
    """A repository at one commit."""

    id: str
    kind: str
    commit: str
    endpoint: str | None

    def uri(self, path: str) -> str:
        return f"hf://{'datasets/' if self.kind == 'dataset' else ''}{self.id}@{self.commit}/{path}"


def locate(location: str, *, of_weights: bool) -> Place:
    """The files at `hf://[datasets/]ORGANISATION/NAME[@REVISION][/PATH]`, at the commit of the revision (else `main`).

    Their digests are the hub's own where it keeps them (LFS), so listing a model fetches none of it; what is fetched is
    hashed and compared. Raises UserError.
    """
    hub = library("huggingface_hub", "hf")
    matched = _LOCATION.fullmatch(location)
    if matched is None:
        raise UserError(
            f"'{location}' names no repository",
            "write hf://ORGANISATION/NAME@REVISION or hf://datasets/ORGANISATION/NAME@REVISION/PATH",
        )
    kind = "dataset" if matched["datasets"] else "model"
    revision = unquote(matched["revision"] or "main")
    endpoint = os.environ.get("HF_ENDPOINT") or None
    api = hub.HfApi(endpoint=endpoint)
    with _explained(hub, location):
        commit = api.repo_info(matched["id"], repo_type=kind, revision=revision).sha
        repository = _Repository(matched["id"], kind, commit, endpoint)
        listed: dict[str, Any] = {}

        def names_below(folder: str, levels: int | None) -> list[str]:
            found = _tree(hub, api, repository, folder, recursive=levels != 1)
            files = {each.path: each for each in found if isinstance(each, hub.RepoFile)}
            listed.update(files)
            everything = levels is None and not folder
            return [path for path in files if not everything or path not in _CARD]

        path = matched["path"] or ""
        names = (weights_in if of_weights else chosen)(location, path, names_below)
    files = tuple(_located(location, repository, listed[name]) for name in names)

    def whole() -> Path:
        paths = [file.fetch() for file in files]
        return paths[0] if names == [path.strip("/")] else paths[0].parent

    return Place(files, whole, commit)


def _tree(hub: Any, api: Any, repository: _Repository, folder: str, *, recursive: bool) -> list[Any]:
    try:
        return list(
            api.list_repo_tree(
                repository.id,
                folder or None,
                recursive=recursive,
                revision=repository.commit,
                repo_type=repository.kind,
            )
        )
    except hub.errors.EntryNotFoundError:
        return []


def _located(location: str, repository: _Repository, file: Any) -> Located:
    uri = repository.uri(file.path)
    known = None if file.lfs is None else file.lfs.sha256

    def fetch() -> Path:
        path = _fetched(location, repository, file.path)
        digest = digest_of(path)
        if known is not None and digest != known:
            raise UserError(
                f"{uri} didn't arrive as the hub has it: its SHA-256 is {digest}, not {known}",
                f"remove {path.resolve()} and try again",
            )
        remember(uri, digest)
        return path

    def digest() -> str:
        return known or recall(uri) or digest_of(fetch())

    return Located(name=file.path, shown=uri, size=file.size, digest=digest, fetch=fetch)


def _fetched(location: str, repository: _Repository, path: str) -> Path:
    hub = library("huggingface_hub", "hf")
    with _explained(hub, location):
        return Path(
            hub.hf_hub_download(
                repository.id,
                path,
                repo_type=repository.kind,
                revision=repository.commit,
                endpoint=repository.endpoint,
                library_name="mixc",
            )
        )


@contextmanager
def _explained(hub: Any, location: str) -> Iterator[None]:
    """Turns what the hub answers into an error with a mend."""
    errors = hub.errors
    try:
        yield
    except UserError:
        raise
    except errors.GatedRepoError as error:
        raise UserError(
            f"{location} is gated: its owner says who may read it",
            "ask for access on its page, then set HF_TOKEN or run `hf auth login`",
        ) from error
    except errors.RevisionNotFoundError as error:
        raise UserError(f"{location} has no such revision", "name a branch, a tag or a commit after @") from error
    except errors.RepositoryNotFoundError as error:
        raise UserError(
            f"the hub has no '{location}', or doesn't show it to you",
            "look at its name (data sets are hf://datasets/…); for a private one set HF_TOKEN or run `hf auth login`",
        ) from error
    except errors.OfflineModeIsEnabled as error:
        raise UserError(
            f"{location} can't be looked up: HF_HUB_OFFLINE is set", "unset it, or name a copy by path"
        ) from error
    except OSError as error:
        raise UserError(f"{location} can't be read: {error}", "look at the network, and at HF_ENDPOINT") from error
    except Exception as error:  # what the HTTP client of this version raises where there is no network
        if type(error).__module__.partition(".")[0] not in (
            "httpx",
            "httpx2",
            "httpcore",
            "huggingface_hub",
            "requests",
        ):
            raise
        raise UserError(f"{location} can't be read: {error}", "look at the network, and at HF_ENDPOINT") from error
