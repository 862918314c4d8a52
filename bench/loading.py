"""Packed batches from token stores, against grain, `datasets` and mosaicml-streaming on the same tokens.

python bench/loading.py
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from threading import Event, Thread

# As a script, this file's folder comes first in the search path, and its names would hide the standard library's.
sys.path[0] = str(Path(__file__).parent.parent)

import numpy as np

from bench.loading_peers import PEERS, Peer
from bench.record import record
from dsl.values import Amount
from runtime.data.batches import batch
from runtime.data.encoded import Encoded
from runtime.data.mixed import Mixed, Part, Phase
from runtime.data.order import make_order
from runtime.data.packed import Packing, load_packing
from runtime.data.packing import pack
from runtime.data.store import TokenStore, finish_store, open_store, write_piece

ROWS, SEQUENCE = 8, 2048
SHORT = 64
"""Tokens of a row where a million of rows are wanted."""
PIECE = 1 << 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=100_000_000)
    parser.add_argument("--peer-tokens", type=int, default=4_000_000, help="of them, read through each peer")
    parser.add_argument("--step", type=int, default=1_000_000, help="after which a run is resumed")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cost", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cost is not None:
        print(json.dumps(cost(options.cost[0], Path(options.cost[1]))))
        return
    with tempfile.TemporaryDirectory() as scratch:
        compare_speed(Path(scratch) / "speed", options.tokens, options.peer_tokens, options.repeats)
        compare_resuming(Path(scratch) / "resume", options.step, options.repeats)
        compare_cost(Path(scratch) / "cost", options.tokens // 4)


def compare_speed(folder: Path, tokens: int, peer_tokens: int, repeats: int) -> None:
    stores = [make_store(folder / str(number), chat_lengths(tokens // 2, number), number) for number in range(2)]

    def ours() -> int:
        packing = packed(stores, SEQUENCE, ROWS)
        return sum(int((batch(packing, stores, step).segments > 0).sum()) for step in range(packing.updates))

    read = ours()
    assert read == sum(int(store.lengths.sum()) for store in stores)
    for name, peer in available().items():
        work = peer.loader([store.location for store in stores], ROWS, SEQUENCE, folder / name)
        work(peer_tokens // 10)
        pairs = [(read / seconds(ours), rate(work, peer_tokens)) for _ in range(repeats)]
        mixc, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
        record(
            f"loading: {name}",
            work=f"two shuffled sources mixed, {read:,} tokens, batches of {ROWS} x {SEQUENCE}",
            ours=f"{mixc / 1e6:.1f}M tokens/s, ordering and packing included",
            peer=f"{peer.does}, {theirs / 1e6:.2f}M tokens/s",
            ratio=statistics.median(own / other for own, other in pairs),
            packages=("numpy", peer.package),
        )


def compare_resuming(folder: Path, step: int, repeats: int) -> None:
    """The first batch of a run that goes on after `step` batches of one short row each."""
    lengths = np.full(step + step // 10, SHORT - SHORT // 8)
    stores = [make_store(folder / str(number), lengths[number::2], number) for number in range(2)]
    packed(stores, SHORT, 1).save(folder / "packing")

    def resume(at: int) -> float:
        return seconds(lambda: batch(load_packing(folder / "packing"), [open_store(s.location) for s in stores], at))

    resume(0)
    early, late = (statistics.median(resume(at) for _ in range(repeats * 3)) for at in (1, step))
    for name, peer in available().items():
        resumed = peer.resumer([store.location for store in stores], SHORT, step, folder / name)
        theirs = statistics.median(seconds(resumed) for _ in range(repeats))
        record(
            f"resuming: {name}",
            work=f"first batch after {step:,} of 1 x {SHORT}",
            ours=f"{late * 1e3:.2f} ms ({early * 1e3:.2f} ms after the first step)",
            peer=f"{peer.does}, {theirs * 1e3:.1f} ms",
            ratio=theirs / late,
            packages=("numpy", peer.package),
        )


def compare_cost(folder: Path, tokens: int) -> None:
    """Memory and threads of 1 and 35 parts of the same number of tokens, each in a process of its own."""
    for parts in (1, 35):
        for number in range(parts):
            make_store(folder / str(parts) / str(number), chat_lengths(tokens // parts, number), number)
    found = {
        (name, parts): json.loads(
            subprocess.run(
                [sys.executable, "-W", "ignore", __file__, "--cost", name, str(folder / str(parts))],
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            ).stdout.splitlines()[-1]
        )
        for name in ("ours", "grain")
        for parts in (1, 35)
    }
    if "grain" not in available():
        return
    told = {
        name: ", ".join(
            f"{parts} parts: {found[name, parts]['megabytes']:.0f} MB, {found[name, parts]['threads']} threads"
            for parts in (1, 35)
        )
        for name in ("ours", "grain")
    }
    record(
        "memory and threads",
        work=f"100 batches of {ROWS} x {SEQUENCE} from 1 and from 35 parts of {tokens:,} tokens together",
        ours=told["ours"],
        peer=f"grain, {told['grain']}",
        ratio=found["grain", 35]["megabytes"] / found["ours", 35]["megabytes"],
        packages=("numpy", "grain"),
    )


def cost(name: str, folder: Path) -> dict[str, float]:
    """The most memory that reading batches took, in MB, without that of the tokens themselves, and the most threads."""
    locations = [str(path) for path in sorted(folder.iterdir())]

    def ours() -> None:
        stores = [open_store(each) for each in locations]
        packing = packed(stores, SEQUENCE, ROWS)
        for step in range(100):
            batch(packing, stores, step)

    def theirs() -> None:
        PEERS[name].loader(locations, ROWS, SEQUENCE, folder)(100 * ROWS * SEQUENCE)

    before = status("RssAnon")
    seen = watch(ours if name == "ours" else theirs)
    tokens = sum(int(open_store(each).lengths.sum()) for each in locations)
    in_memory = 0 if name == "ours" else 4 * tokens  # ours are mapped
    return {
        "megabytes": (max(memory for memory, _ in seen) - before) / 1024 - in_memory / 2**20,
        "threads": max(threads for _, threads in seen) - 1,
    }


def watch(work: Callable[[], None]) -> list[tuple[int, int]]:
    """Memory that no file backs, in kB, and threads, as they were while something was done; this one among them."""
    seen: list[tuple[int, int]] = []
    done = Event()

    def look() -> None:
        while not done.wait(0.01):
            seen.append((status("RssAnon"), status("Threads")))

    thread = Thread(target=look)
    thread.start()
    work()
    done.set()
    thread.join()
    return seen


def status(name: str) -> int:
    """A number of /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def available() -> dict[str, Peer]:
    """The peers that are installed here."""
    found: dict[str, Peer] = {}
    for name, peer in PEERS.items():
        try:
            __import__(peer.module)
        except ImportError as error:
            print(f"no comparison with {name}: {error}")
        else:
            found[name] = peer
    return found


def packed(stores: list[TokenStore], sequence: int, rows: int) -> Packing:
    """All rows of all stores once, in one shuffled order."""
    sources = [store.source(store.location, store.location) for store in stores]
    parts = tuple(Part(number, Amount("all")) for number in range(len(stores)))
    order = make_order(sources, Mixed((Phase(None, parts),), max_epochs=Fraction(1)), None, 0)
    return pack(order, stores, "best_fit", sequence, rows, lambda source, number: f"{source}:{number}")


def chat_lengths(tokens: int, seed: int) -> np.ndarray:
    """Lengths of chats that come to about that many tokens: log-normal, 400 on average, at most a sequence."""
    drawn = np.random.default_rng(seed).lognormal(np.log(400) - 0.9**2 / 2, 0.9, tokens // 380)
    return np.clip(drawn.astype(np.int64), 8, SEQUENCE)


def make_store(folder: Path, lengths: np.ndarray, seed: int) -> TokenStore:
    """A store of random tokens."""
    draw = np.random.default_rng(seed)
    count = -(-len(lengths) // PIECE)
    for number in range(count):
        sizes = lengths[number * PIECE : (number + 1) * PIECE]
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        tokens = draw.integers(1, 50_000, offsets[-1], dtype=np.int32)
        trained = tokens % 3 > 0
        trained[offsets[:-1]] = False
        encoded = Encoded(np.arange(len(sizes)), offsets, tokens, trained, np.zeros(len(tokens), np.uint8), {})
        identity = draw.integers(0, 256, (len(sizes), 32), dtype=np.uint8)
        write_piece(folder, number, encoded, identity, np.zeros(len(sizes), np.int32))
    return finish_store(folder, count)


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def rate(work: Callable[[int], int], tokens: int) -> float:
    """Tokens a second."""
    start = time.perf_counter()
    return work(tokens) / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
