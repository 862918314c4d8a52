"""Real text from raw files to the token store: how fast, and in how much memory as the corpus grows.

The text is what Debian's documentation packages carry, a document a file, HTML without its tags:

apt-get download rust-doc openjdk-17-doc ghc-doc erlang-doc linux-doc-6.1 linux-source-6.1 …
python bench/corpus.py PACKAGES
"""

from __future__ import annotations

import argparse
import gzip
import html
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path[0] = str(Path(__file__).parent.parent)

from bench.chats import MODEL
from bench.record import record
from runtime.data.read import read_files
from runtime.data.tokenize import Consumer, tokenize
from runtime.weights.gguf import describe
from runtime.weights.location import resolve

SHARD = 32 << 20
TEXTS = (".txt", ".rst", ".md", ".html", ".c", ".h", ".S", ".py", ".dts", ".dtsi", ".yaml")
LONGEST = 4 << 20
_UNSEEN = re.compile(r"(?is)<(script|style|head)\b.*?</\1>|<!--.*?-->")
_TAG = re.compile(r"<[^>]*>")
_BLANKS = re.compile(r"\n\s*\n+")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packages", type=Path, help="a folder of .deb files")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()), help="where the corpus is kept")
    parser.add_argument("--megabytes", type=int, nargs="+", default=[256, 512, 1024])
    parser.add_argument("--only", type=int, help="shards: do the work, as the process that is measured")
    options = parser.parse_args()
    folder = options.scratch / "mixc-corpus"
    if options.only is not None:
        work(folder, options.only)
        return
    if not folder.exists():
        make_corpus(options.packages, folder, max(options.megabytes) << 20)
    least: int | None = None
    for megabytes in options.megabytes:
        shards = (megabytes << 20) // SHARD
        found, whole, worker = measure(
            [str(options.packages), "--scratch", str(options.scratch), "--only", f"{shards}"]
        )
        least = least or whole + worker
        speed = found["bytes"] / 1e6 / (found["read"] + found["tokenize"])
        record(
            "corpus: memory",
            work=f"{found['bytes'] / 1e6:,.0f} MB of JSON lines, {found['documents']:,} documents, "
            f"{found['tokens']:,} tokens",
            ours=f"at most {whole:,} MB, and {worker:,} MB in a worker; read in {found['read']:.0f} s, tokenized in "
            f"{found['tokenize']:.0f} s, {speed:.2f} MB/s together",
            peer=f"the same with {options.megabytes[0]} MB: {least:,} MB",
            ratio=least / (whole + worker),
            packages=("tokenizers", "pyarrow"),
        )


def measure(arguments: list[str]) -> tuple[dict[str, float], int, int]:
    """Runs `work` in a process of its own: what it tells, and the most megabytes that it and a worker of it took."""
    command = [sys.executable, __file__, *arguments]
    peaks: dict[int, int] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        while process.poll() is None:
            for pid in session(process.pid):
                peaks[pid] = max(peaks.get(pid, 0), peak(pid))
            time.sleep(0.2)
        assert process.stdout is not None
        told = process.stdout.read()
    if process.returncode:
        sys.exit(f"the work failed: {told}")
    return json.loads(told), peaks.pop(process.pid) >> 20, max(peaks.values(), default=0) >> 20


def work(folder: Path, shards: int) -> None:
    """From raw files to the token store; prints what it took as JSON."""
    files = sorted(folder.glob("*.jsonl"))[:shards]
    consumer = Consumer(describe(resolve(MODEL, Path())).tokenizer, "all", {})
    made = folder / "made"
    shutil.rmtree(made, ignore_errors=True)
    (made / "store").mkdir(parents=True)
    start = time.perf_counter()
    reading = read_files("documents", files, {}, folder, made / "rows.parquet")
    between = time.perf_counter()
    store = tokenize(reading.rows, "documents", consumer, made / "store").store
    found = {
        "bytes": sum(path.stat().st_size for path in files),
        "documents": len(reading.rows),
        "tokens": int(store.lengths.sum()),
        "read": between - start,
        "tokenize": time.perf_counter() - between,
    }
    shutil.rmtree(made)
    print(json.dumps(found))


def session(leader: int) -> Iterator[int]:
    """The processes that a process started, and itself."""
    for name in os.listdir("/proc"):
        try:
            if name.isdecimal() and os.getsid(int(name)) == leader:
                yield int(name)
        except ProcessLookupError:
            continue


def peak(pid: int) -> int:
    """Bytes that a process had in memory at most, as the kernel counts."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    found = re.search(r"VmHWM:\s*(\d+) kB", status)
    return int(found[1]) << 10 if found else 0


def make_corpus(packages: Path, folder: Path, size: int) -> None:
    """JSON lines of at least `size` bytes in shards; fails where the packages hold less."""
    draft = folder.with_name(f"{folder.name}.tmp")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    shard = held = total = 0
    file = (draft / "0000.jsonl").open("wb")
    for package, name, text in documents(packages, draft / "unpacked"):
        line = json.dumps({"text": text, "package": package, "name": name}, ensure_ascii=False).encode() + b"\n"
        file.write(line)
        held, total = held + len(line), total + len(line)
        if held >= SHARD:
            file.close()
            if total >= size:
                break
            shard, held = shard + 1, 0
            file = (draft / f"{shard:04}.jsonl").open("wb")
    else:
        sys.exit(f"the packages hold {total >> 20} MB of text; add some")
    draft.rename(folder)


def documents(packages: Path, folder: Path) -> Iterator[tuple[str, str, str]]:
    """Package, path and text of every document, each package unpacked in its turn."""
    for package in sorted(packages.glob("*.deb")):
        folder.mkdir()
        subprocess.run(["dpkg-deb", "-x", str(package), str(folder)], check=True)
        for archive in sorted(folder.rglob("*.tar.xz")):
            subprocess.run(["tar", "-xf", str(archive), "-C", str(archive.parent)], check=True)
        for path in sorted(folder.rglob("*")):
            name = path.name.removesuffix(".gz")
            if name.endswith(TEXTS) and path.is_file() and not path.is_symlink() and path.stat().st_size < LONGEST:
                text = text_of(path, name)
                if len(text) > 200:
                    yield package.name.partition("_")[0], path.relative_to(folder).as_posix(), text
        shutil.rmtree(folder)


def text_of(path: Path, name: str) -> str:
    """The text of a file, "" where it isn't in UTF-8."""
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    try:
        text = content.decode().replace("\0", "")
    except UnicodeDecodeError:
        return ""
    if name.endswith(".html"):
        text = html.unescape(_TAG.sub("", _UNSEEN.sub("", text)))
    return _BLANKS.sub("\n\n", text).strip()


if __name__ == "__main__":
    main()
