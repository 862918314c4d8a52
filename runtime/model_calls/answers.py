"""Answers of models, stored as they come: one for each prompt, model, settings and sample number."""

from __future__ import annotations

import fcntl
import json
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from runtime.disk import disk_errors
from runtime.errors import UserError
from runtime.model_calls.requests import Answer

_Found = TypeVar("_Found")

_TABLES = """
CREATE TABLE IF NOT EXISTS answers (
    key BLOB NOT NULL UNIQUE, answer TEXT NOT NULL, checksum INTEGER NOT NULL, model TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS used (
    model TEXT PRIMARY KEY, calls INTEGER NOT NULL, input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL
);
"""
_BROKEN = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_BUSY_SECONDS = 60.0


@dataclass(frozen=True)
class Used:
    """What a model has been paid for in this store. Calls that gave no answer can't be counted."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


class Answers:
    """`STORE/answers/answers.sqlite`. Any number of processes may use it at once; close it, or use it in `with`.

    An answer is on the disk's side of the process before the next call begins, so that SIGKILL loses none; a power cut
    may lose the last few. A file that SQLite can't read is set aside, and what can be read of it is taken over. Answers
    carry a checksum, and a damaged one counts as not there. One process at a time opens or mends the file; the others
    then turn to the mended one.

    Args:
        root: the store.
        say: takes remarks for people, one line each.
    """

    def __init__(self, root: Path, say: Callable[[str], None]) -> None:
        self.path = root / "answers" / "answers.sqlite"
        self._say = say
        self._damaged = 0
        try:
            with disk_errors(root):
                self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection, self._inode = self._connect(None)
        except OSError as error:
            raise UserError(
                f"no folder can be made here: {error.strerror}", "give another store with --store", str(error.filename)
            ) from error

    def __enter__(self) -> Answers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def get(self, key: bytes) -> Answer | None:
        """The answer that is stored under a key of `key_of`."""
        rows = self._run(lambda database: _select(database, key))
        if not rows:
            return None
        answer = _read(*rows[0])
        if answer is None:
            self._run(lambda database: database.execute("DELETE FROM answers WHERE key = ?", (key,)))
            self._damaged += 1
            if self._damaged == 1:
                self._say(f"{self.path} holds a damaged answer; it is asked for again")
        return answer

    def put(self, key: bytes, model: str, answer: Answer) -> Answer:
        """Stores an answer and gives the one that counts: the first, if another process was faster."""
        text = json.dumps(asdict(answer), ensure_ascii=False)

        def store(database: sqlite3.Connection) -> None:
            with database:
                _insert(database, key, text, _checksum(key, text), model)
                database.execute(
                    "INSERT INTO used VALUES (?, 1, ?, ?) ON CONFLICT (model) DO UPDATE SET calls = calls + 1,"
                    " input_tokens = input_tokens + excluded.input_tokens,"
                    " output_tokens = output_tokens + excluded.output_tokens",
                    (model, answer.input_tokens or 0, answer.output_tokens or 0),
                )

        self._run(store)
        rows = self._run(lambda database: _select(database, key))
        return (_read(*rows[0]) if rows else None) or answer

    def used(self, model: str) -> Used:
        """What all stored answers of a model took, whatever asked for them."""
        rows = self._run(
            lambda database: database.execute(
                "SELECT calls, input_tokens, output_tokens FROM used WHERE model = ?", (model,)
            ).fetchall()
        )
        return Used(*rows[0]) if rows else Used()

    def __len__(self) -> int:
        return self._run(lambda database: database.execute("SELECT count(*) FROM answers").fetchone())[0]

    def _run(self, action: Callable[[sqlite3.Connection], _Found]) -> _Found:
        """Does something with the file; where it turns out to be broken, once more with a mended one."""
        if _inode(self.path) not in (None, self._inode):  # another process has mended it
            self._connection.close()
            self._connection, self._inode = self._connect(None)
        try:
            with self._errors():
                return action(self._connection)
        except sqlite3.DatabaseError as error:
            if not _is_broken(error):
                raise
        self._connection.close()
        self._connection, self._inode = self._connect(self._inode)
        with self._errors():
            return action(self._connection)

    def _connect(self, broken: int | None) -> tuple[sqlite3.Connection, int | None]:
        """The file, opened or else mended, and its inode. `broken` is the inode of one that turned out to be broken."""
        with disk_errors(self.path), self.path.with_name("lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if broken is not None and _inode(self.path) == broken:
                return self._mended(), _inode(self.path)
            try:
                with self._errors():
                    return _opened(self.path), _inode(self.path)
            except sqlite3.DatabaseError as error:
                if not _is_broken(error):
                    raise
                return self._mended(), _inode(self.path)

    def _mended(self) -> sqlite3.Connection:
        """A new file with all answers that the broken one still gives; the broken one stays beside it."""
        number = 1
        while (aside := self.path.with_name(f"damaged-{number}.sqlite")).exists():
            number += 1
        for end in ("", "-wal", "-shm"):
            part = self.path.with_name(self.path.name + end)
            if part.exists():
                part.rename(aside.with_name(aside.name + end))
        with self._errors():
            database = _opened(self.path)
            saved = 0
            with database:
                for key, text, checksum, model in _readable(aside):
                    answer = _read(key, text, checksum)
                    if answer is not None:
                        saved += _insert(database, key, text, checksum, model)
                database.execute(
                    "INSERT INTO used SELECT model, count(*),"
                    " total(json_extract(answer, '$.input_tokens')), total(json_extract(answer, '$.output_tokens'))"
                    " FROM answers GROUP BY model"
                )
        self._say(f"{self.path} is damaged and was set aside as {aside.name}; {saved:,} answers could be read from it")
        return database

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if _is_broken(error):
                raise
            raise UserError(
                f"the stored answers can't be read or written: {error}",
                "look at the disk's space and permissions, or give another store with --store",
                str(self.path),
            ) from error


def _inode(path: Path) -> int | None:
    """What tells a file from another that was put in its place; None where there is none."""
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


def _opened(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=_BUSY_SECONDS, check_same_thread=False)
    database.text_factory = _text
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        with database:
            database.executescript(_TABLES)
    except BaseException:
        database.close()
        raise
    return database


def _readable(path: Path) -> Iterator[tuple[bytes, str, int, str]]:
    """What a broken file still gives, read from both of its ends; some rows may come twice."""
    for direction in ("ASC", "DESC"):
        database = sqlite3.connect(path)
        database.text_factory = _text
        try:
            query = f"SELECT key, answer, checksum, model FROM answers NOT INDEXED ORDER BY rowid {direction}"
            yield from database.execute(query)
        except sqlite3.DatabaseError:
            continue
        finally:
            database.close()


def _text(content: bytes) -> str:
    """Bytes that have changed need not be UTF-8 any more; the checksum tells."""
    return content.decode(errors="replace")


def _select(database: sqlite3.Connection, key: bytes) -> list[tuple[bytes, str, int]]:
    return database.execute("SELECT key, answer, checksum FROM answers WHERE key = ?", (key,)).fetchall()


def _insert(database: sqlite3.Connection, key: bytes, text: str, checksum: int, model: str) -> int:
    return database.execute("INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?)", (key, text, checksum, model)).rowcount


def _read(key: object, text: object, checksum: object) -> Answer | None:
    """The answer, None where bytes of it have changed."""
    if not isinstance(key, bytes) or not isinstance(text, str) or _checksum(key, text) != checksum:
        return None
    fields = json.loads(text)
    return Answer(**{**fields, "tool_calls": tuple(fields["tool_calls"])})


def _checksum(key: bytes, text: str) -> int:
    return zlib.crc32(text.encode(errors="replace"), zlib.crc32(key))


def _is_broken(error: sqlite3.DatabaseError) -> bool:
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _BROKEN
