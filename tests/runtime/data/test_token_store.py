"""Token stores: written in any order, killed anywhere, read as they were or not at all."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorstore as ts

from runtime.data.encoded import Encoded
from runtime.data.store import (
    TokenStore,
    finish_store,
    open_store,
    pieces_done,
    set_aside_of,
    store_digest,
    write_piece,
)
from runtime.errors import UserError
from tests.runtime.data.stores import store_of


def everything(store: TokenStore) -> list[list[int]]:
    rows = np.arange(len(store))
    return [
        store.read(array, rows, np.zeros_like(rows), store.lengths).tolist() for array in ("tokens", "trained", "roles")
    ]


def piece(
    first: int, lengths: list[int], aside: dict[int, str] | None = None
) -> tuple[Encoded, np.ndarray, np.ndarray]:
    """Rows whose tokens are their numbers, from `first` on; `aside` stand between them and are none of `lengths`."""
    kept = np.array(
        [number for number in range(len(lengths) + len(aside or {})) if number not in (aside or {})], np.int64
    )
    offsets = np.cumsum([0, *lengths])
    tokens = np.repeat(first + kept, lengths).astype(np.int32)
    trained = np.ones(len(tokens), np.bool_)
    trained[offsets[:-1]] = False
    count = len(kept) + len(aside or {})
    identity = np.repeat((first + np.arange(count)).astype(np.uint8)[:, None], 32, axis=1)
    encoded = Encoded(kept, offsets, tokens, trained, np.zeros(len(tokens), np.uint8), aside or {})
    return encoded, identity, np.zeros(count, np.int32)


def write(folder: Path, number: int, first: int, lengths: list[int]) -> None:
    write_piece(folder, number, *piece(first, lengths))


def test_the_digest_of_a_store_is_pinned(tmp_path: Path) -> None:
    first, same, other = store_of(tmp_path / "a", [5, 1, 9]), store_of(tmp_path / "b", [5, 1, 9]), [5, 1, 8]
    assert store_digest(first) == "200210fc11cec5f2b1ff88383d1fd18371888ed29f201e87ecaca3ee3dbf3dc1"
    assert store_digest(first) == store_digest(same) != store_digest(store_of(tmp_path / "c", other))
    many = store_of(tmp_path / "d", [3] * 5000, 2)
    assert store_digest(many) == "db7a78ad2fca92c26973eb11ce1cabf8e7d9d698f7be52ced182a846d787121b"


def test_the_digest_is_the_same_however_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_of(tmp_path / "a", [5, 1, 9, 40, 2])
    whole = store_digest(store)
    for tokens in (1, 7, 57, 58):
        monkeypatch.setattr("runtime.data.store._DIGEST_TOKENS", tokens)
        assert store_digest(store) == whole


def test_stores_are_read_by_row(tmp_path: Path) -> None:
    store = store_of(tmp_path / "a", [5, 1, 9])
    slices = np.array([2, 0]), np.array([3, 0]), np.array([4, 5])
    assert store.read("tokens", *slices).tolist() == [9, 10, 11, 12, 0, 1, 2, 3, 4]
    chosen = store.select(np.array([2]))
    assert chosen.read("tokens", np.array([0]), np.array([0]), np.array([2])).tolist() == [6, 7]
    assert (chosen.lengths.tolist(), len(chosen)) == ([9], 1)


def test_a_store_of_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.data.store._FILE", 64)
    lengths = [50, 70, 200, 3]
    store = store_of(tmp_path / "a", lengths)
    assert len(list((tmp_path / "a" / "tokens" / "c").iterdir())) == 6
    assert everything(store)[0] == list(range(323))
    assert store.trained_lengths.tolist() == [
        int(store.read("trained", np.array([row]), np.array([0]), np.array([length])).sum())
        for row, length in enumerate(lengths)
    ]
    monkeypatch.undo()
    assert store_digest(store) == store_digest(store_of(tmp_path / "b", lengths)), "files are no part of what it holds"


def test_any_zarr_reader_opens_the_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.data.store._FILE", 16)
    store = store_of(tmp_path / "a", [5, 30, 9])
    for name, expected in {
        "tokens": np.arange(44),
        "trained": store.read("trained", np.arange(3), np.zeros(3, np.int64), store.lengths),
        "roles": np.full(44, 5),
        "offsets": [0, 5, 35, 44],
        "trained_lengths": store.trained_lengths,
        "identity": store.identity.reshape(-1),
        "occurrence": [0, 0, 0],
    }.items():
        spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(tmp_path / "a" / name)}}
        assert (ts.open(spec, open=True).result().read().result() == expected).all()


def test_a_store_at_a_url_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.data.store._FILE", 16)
    local = store_of(tmp_path / "a", [5, 30, 9])
    remote = open_store(f"file://{tmp_path / 'a'}")
    assert everything(remote) == everything(local)
    assert store_digest(remote) == store_digest(local)
    (tmp_path / "a" / "tokens" / "c" / "2").unlink()
    with pytest.raises(UserError, match="it can't be read"):
        store_digest(open_store(f"file://{tmp_path / 'a'}"))
    (tmp_path / "a" / "tokens" / "zarr.json").unlink()
    with pytest.raises(UserError, match="it can't be read"):
        open_store(f"file://{tmp_path / 'a'}")


def test_pieces_are_joined_in_their_order_whoever_wrote_which_when(tmp_path: Path) -> None:
    lengths = [[3, 4], [5], [], [2, 2, 2]]
    firsts = [0, 2, 3, 3]
    for number in range(4):
        write(tmp_path / "one", number, firsts[number], lengths[number])
    whole = finish_store(tmp_path / "one", 4)
    assert whole.lengths.tolist() == [3, 4, 5, 2, 2, 2]
    assert everything(whole)[0] == np.repeat(np.arange(6), whole.lengths).tolist()
    assert whole.identity[:, 0].tolist() == list(range(6))
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.starmap(write, [(tmp_path / "two", number, firsts[number], lengths[number]) for number in (3, 1, 2, 0)])
    assert pieces_done(tmp_path / "two") == {0, 1, 2, 3}
    assert store_digest(finish_store(tmp_path / "two", 4)) == store_digest(whole)
    assert pieces_done(tmp_path / "two") == set()
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == sorted(
        ["tokens", "trained", "roles", "offsets", "trained_lengths", "seconds", "identity", "occurrence"]
    )


def test_a_killed_writer_is_followed_by_another(tmp_path: Path) -> None:
    assert pieces_done(tmp_path / "a") == set()
    write(tmp_path / "a", 0, 0, [3, 4])
    write(tmp_path / "a", 2, 3, [6])
    (tmp_path / "a" / "pieces" / "00000001.npz.tmp").write_bytes(b"half a piece")
    assert pieces_done(tmp_path / "a") == {0, 2}
    write(tmp_path / "a", 1, 2, [5])
    shutil.copytree(tmp_path / "a", tmp_path / "before")
    store = finish_store(tmp_path / "a", 3)
    shutil.copytree(tmp_path / "before", tmp_path / "a", dirs_exist_ok=True)  # killed before the pieces were gone
    (tmp_path / "a" / "tokens" / "c" / "0").write_bytes(b"x" * 999)
    (tmp_path / "a" / "tokens" / "c" / "1").write_bytes(b"of a longer store")
    assert store_digest(finish_store(tmp_path / "a", 3)) == store_digest(store)
    assert [path.name for path in (tmp_path / "a" / "tokens" / "c").iterdir()] == ["0"]


def test_rows_set_aside_stay_known(tmp_path: Path) -> None:
    write_piece(tmp_path, 0, *piece(0, [2, 3], {1: "the chat template refuses it"}))
    write_piece(tmp_path, 1, *piece(3, [4]))
    assert [set_aside_of(tmp_path, number) for number in (0, 1)] == [{1: "the chat template refuses it"}, {}]
    assert finish_store(tmp_path, 2).identity[:, 0].tolist() == [0, 2, 3]


def test_a_store_without_rows(tmp_path: Path) -> None:
    write(tmp_path, 0, 0, [])
    assert len(finish_store(tmp_path, 1)) == 0
    assert everything(open_store(tmp_path)) == [[], [], []]


@pytest.mark.parametrize(
    "array", ["tokens", "trained", "roles", "offsets", "trained_lengths", "seconds", "identity", "occurrence"]
)
def test_a_damaged_store_is_refused_and_never_read_as_zeros(
    tmp_path: Path, array: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.data.store._FILE", 16)
    store_of(tmp_path / "a", [5, 30, 9])
    files = sorted((tmp_path / "a" / array / "c").iterdir())
    last = files[-1].read_bytes()
    files[-1].write_bytes(last[:-1])
    with pytest.raises(UserError, match=rf"its file {files[-1].name} has {len(last) - 1} bytes instead of {len(last)}"):
        open_store(tmp_path / "a")
    files[-1].unlink()
    with pytest.raises(UserError, match=r"the data is damaged: its file . is missing"):
        open_store(tmp_path / "a")
    files[-1].write_bytes(last)
    metadata = tmp_path / "a" / array / "zarr.json"
    text = metadata.read_text()
    metadata.write_text(text[:50])
    with pytest.raises(UserError, match=r"zarr.json can't be read"):
        open_store(tmp_path / "a")
    metadata.unlink()
    with pytest.raises(UserError, match=r"zarr.json can't be read"):
        open_store(tmp_path / "a")
    store_of(tmp_path / "b", [5, 30, 9, 1])
    shutil.rmtree(tmp_path / "a" / array)
    shutil.copytree(tmp_path / "b" / array, tmp_path / "a" / array)
    with pytest.raises(UserError, match="elements, and the offsets ask for"):
        open_store(tmp_path / "a")


def test_compressed_arrays_of_an_earlier_version_are_refused(tmp_path: Path) -> None:
    store_of(tmp_path, [5, 30, 9])
    metadata = tmp_path / "tokens" / "zarr.json"
    metadata.write_text(metadata.read_text().replace('"name":"bytes"', '"name":"sharding_indexed"'))
    with pytest.raises(UserError, match="only plain arrays are read"):
        open_store(tmp_path)


def test_a_thousand_stores_cost_no_handle_and_no_thread(tmp_path: Path) -> None:
    store_of(tmp_path / "a", [5, 30, 9])
    open_store(tmp_path / "a")
    handles, threads = len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))
    stores = [open_store(tmp_path / "a") for _ in range(1000)]
    assert all(everything(store)[0] == list(range(44)) for store in stores)
    assert len(os.listdir("/proc/self/fd")) == handles
    assert len(os.listdir("/proc/self/task")) == threads
