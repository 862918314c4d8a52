"""Files of object stores, `gs://` and `s3://`: listed, fetched into a cache, checked against the store's checksums.

Who asks follows from what the stores' own libraries find: environment variables, their files in the home folder, the
machine's role. Where they find nothing, it is asked without a name, which public buckets answer. Nothing of this stands
in a spec, a plan or a lock.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from runtime.digests import cache_folder, digest_of, recall, remember
from runtime.disk import disk_errors
from runtime.errors import UserError
from runtime.located import Located, Place
from runtime.remote.listing import chosen, library, weights_in

SCHEMES = ("gs", "s3")
_BLOCK = 16 << 20
_MD5 = re.compile(r"[0-9a-f]{32}")


def locate(location: str, *, of_weights: bool) -> Place:
    """The files at `gs://BUCKET/PATH` or `s3://BUCKET/PATH`: an object, all below a folder, or a pattern.

    An object is known by its generation or ETag: one whose SHA-256 was taken before isn't fetched to learn that it is
    still the same. Raises UserError.
    """
    scheme, _, rest = location.partition("://")
    bucket, _, pattern = rest.partition("/")
    with _explained(location):
        store = _open(scheme)
        listed: dict[str, Mapping[str, Any]] = {}

        def names_below(folder: str, levels: int | None) -> list[str]:
            found = store.find(f"{bucket}/{folder}" if folder else bucket, maxdepth=levels, detail=True)
            files = {name.removeprefix(f"{bucket}/"): facts for name, facts in found.items() if not name.endswith("/")}
            listed.update(files)
            return list(files)

        choose = weights_in if of_weights else chosen
        names = choose(location, pattern, names_below)
    objects = [_object(scheme, bucket, name, listed[name]) for name in names]
    return Place(
        tuple(
            Located(
                name=each.name,
                shown=each.uri,
                size=each.size,
                digest=lambda each=each: each.digest(store),
                fetch=lambda each=each: each.fetch(store)[0],
            )
            for each in objects
        ),
        lambda: _together(objects, store, single=names == [pattern.strip("/")]),
    )


@dataclass(frozen=True)
class _Object:
    """An object at one version: `version` changes with its content, `md5` is of it where the store says."""

    scheme: str
    bucket: str
    name: str
    size: int
    version: str
    md5: str | None

    @property
    def uri(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.name}"

    @property
    def key(self) -> str:
        return f"{self.uri}\0{self.version}\0{self.size}"

    def digest(self, store: Any) -> str:
        """Its SHA-256; fetched for it where that was never taken."""
        return recall(self.key) or self.fetch(store)[1]

    def fetch(self, store: Any) -> tuple[Path, str]:
        """The file on this machine, and its SHA-256.

        A fetch that was cut off goes on where it was; only what arrived whole gets the file's name.
        """
        folder = cache_folder() / "objects" / hashlib.sha256(self.key.encode()).hexdigest()
        path = folder / Path(self.name).name
        part = folder / ".part"
        with disk_errors(folder, self.size):
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / ".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)  # another process may want the same
                if path.exists():
                    digest = recall(self.key) or digest_of(path)
                else:
                    with part.open("ab+") as file:
                        digest = self._arrived(file, store)
                    part.rename(path)
                remember(self.key, digest)
        return path, digest

    def _arrived(self, part: BinaryIO, store: Any) -> str:
        """Fills the draft with what is missing of it; the SHA-256 of all."""
        sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
        part.seek(0)
        while block := part.read(_BLOCK):
            sha256.update(block)
            md5.update(block)
        with _explained(self.uri):
            at = part.tell()
            while at < self.size:
                block = store.cat_file(f"{self.bucket}/{self.name}", start=at, end=min(at + _BLOCK, self.size))
                if not block:
                    break
                part.write(block)
                sha256.update(block)
                md5.update(block)
                at += len(block)
            now = _object(self.scheme, self.bucket, self.name, store.info(f"{self.bucket}/{self.name}"))
            sums_hold = at == self.size and (self.md5 in (None, md5.hexdigest()) or _is_encrypted(store, self))
        if now.key != self.key or not sums_hold:
            part.truncate(0)
            reason = "changed while it was fetched" if now.key != self.key else "didn't arrive as the store has it"
            raise UserError(f"{self.uri} {reason}", "run it again")
        part.flush()
        os.fsync(part.fileno())
        return sha256.hexdigest()


def _object(scheme: str, bucket: str, name: str, facts: Mapping[str, Any]) -> _Object:
    if scheme == "gs":
        md5 = base64.b64decode(facts["md5Hash"]).hex() if facts.get("md5Hash") else None
        return _Object(scheme, bucket, name, int(facts["size"]), str(facts["generation"]), md5)
    etag = str(facts["ETag"]).strip('"')
    return _Object(scheme, bucket, name, int(facts["size"]), etag, etag if _MD5.fullmatch(etag) else None)


def _is_encrypted(store: Any, one: _Object) -> bool:
    """Whether an ETag that looks like an MD5 is none, since S3 encrypts the object with a key of its owner's."""
    if one.scheme != "s3":
        return False
    head = store.call_s3("head_object", Bucket=one.bucket, Key=one.name)
    return head.get("ServerSideEncryption", "AES256") != "AES256" or "SSECustomerAlgorithm" in head


def _together(objects: list[_Object], store: Any, *, single: bool) -> Path:
    """The one file, or a folder with a link to each under its own name."""
    paths = [each.fetch(store)[0] for each in objects]
    if single:
        return paths[0]
    name = hashlib.sha256("\0".join(each.key for each in objects).encode()).hexdigest()
    folder = cache_folder() / "folders" / name
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for path in paths:
            link = folder / path.name
            if not link.exists():
                link.unlink(missing_ok=True)
                with suppress(FileExistsError):  # another process was faster, with the same
                    link.symlink_to(path)
    return folder


def _open(scheme: str) -> Any:
    options: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}
    if scheme == "s3":
        store = library("s3fs", scheme).S3FileSystem
        credentials = library("botocore.session", scheme).get_session().get_credentials()
        return store(anon=credentials is None, **options)
    store = library("gcsfs.core", scheme).GCSFileSystem  # not its gRPC variant, which public buckets don't answer
    emulated = "STORAGE_EMULATOR_HOST" in os.environ  # as Google's own libraries take it
    return store(token="anon" if emulated else None, **options)  # by itself it asks without a name at last


@contextmanager
def _explained(location: str) -> Iterator[None]:
    """Turns what stores and their libraries answer into an error with a mend."""
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"there is no '{location}'", "look at the names of bucket and object") from error
    except PermissionError as error:
        raise UserError(
            f"{location} may not be read: {error}",
            "look at the credentials in the environment, and at the bucket's rights",
        ) from error
    except Exception as error:  # each store's library, and the HTTP client below it, has errors of its own
        raise UserError(f"{location} can't be read: {error}", "look at the network and the credentials") from error
