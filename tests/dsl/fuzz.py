"""Byte-level fuzzing of parser, checker and formatter: what no file may do, tried on mutated ones.

python -m tests.dsl.fuzz --minutes 60             mutations at random, seeded
python -m tests.dsl.fuzz --minutes 60 --atheris   guided by coverage (pip install atheris; Linux, Python 3.11 and 3.12)

A text that breaks a law is written to `--crashes`, and the run ends with exit code 1.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path

TESTS = Path(__file__).parents[1]
MOST_SECONDS = 1.0
"""For a text of 100 kB or less, in processor time."""
TOKENS = [
    *(token.encode() for token in " \n#[]{},()'\"\\&*!%@`?|>\t\x85é日\u2028\ufeff\xa0"),
    b"\n  ", b": ", b"- ", b"  # x", b"$dose", b"|> ", b"<<", b"---",
    b"\r\n", b"\xff", b"\x00", b"|-\n    ",
    b"edition: 2026\n", b"extends: ", b"every 10%", b"3M tokens", b"base |> ", b"9" * 50, b"[" * 200, b"(" * 200,
]  # fmt: skip


def corpus() -> list[bytes]:
    """Every spec of the tests, right ones and wrong ones."""
    paths = [*sorted(TESTS.glob("examples/*.mix")), *sorted(TESTS.glob("golden/**/*.mix"))]
    return [path.read_bytes() for path in paths]


def mutated(draw: random.Random, texts: list[bytes]) -> bytes:
    """One of `texts` with up to eight edits: bytes cut, repeated, replaced, swapped in from another text."""
    text = draw.choice(texts)
    for _ in range(draw.randint(1, 8)):
        start = draw.randint(0, len(text))
        end = min(len(text), start + draw.choice((0, 0, 1, 2, 8, 40)))
        match draw.randrange(5):
            case 0:
                put = b""
            case 1:
                put = draw.choice(TOKENS)
            case 2:
                put = bytes(draw.randrange(256) for _ in range(draw.randint(1, 3)))
            case 3:
                put = text[start:end] * draw.choice((2, 3, 200))
            case _:
                other = draw.choice(texts)
                first = draw.randint(0, len(other))
                put = other[first : first + draw.randint(1, 60)]
        text = text[:start] + put + text[end:]
    return text[:100_000]


def hold(data: bytes, most_seconds: float = MOST_SECONDS) -> None:
    """Raise AssertionError, or whatever the code raises, if `data` breaks a law."""
    from dsl.check import check
    from dsl.format import format_source
    from dsl.source import SourceFile
    from tests.dsl.trees import check_against_yaml

    path = TESTS / "examples" / "fuzzed.mix"

    def read(each: Path) -> str:
        return (data if each == path else each.read_bytes()).decode()

    start = time.process_time()
    for one in check([path], read=read):
        assert one.message
        assert 0 <= one.span.start <= one.span.end <= len(one.source.text)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return
    formatted, mistakes = format_source(SourceFile("fuzzed.mix", text))
    seconds = time.process_time() - start
    assert seconds < most_seconds, f"took {seconds:.1f} s for {len(data)} bytes"
    if mistakes:
        assert formatted == text
        return
    assert check_against_yaml(text)
    assert format_source(SourceFile("fuzzed.mix", formatted)) == (formatted, [])
    before = check([path], read=read)
    after = check([path], read=lambda each: formatted if each == path else each.read_text())
    if any(one.severity == "error" for one in before):  # one of them may hide another that then stands elsewhere
        assert any(one.severity == "error" for one in after), "the formatter hides an error"
    else:
        assert [one.code for one in after] == [one.code for one in before], "the formatter changed what is found"


def fuzz(seconds: float, seed: int) -> int:
    """How many texts were tried. Raises what broke, with `data` in its notes."""
    draw, texts, end, count = random.Random(seed), corpus(), time.monotonic() + seconds, 0
    while time.monotonic() < end:
        data = mutated(draw, texts)
        try:
            hold(data)
        except Exception as error:
            error.add_note(f"seed {seed}, text {count}: {data!r}")
            raise
        count += 1
    return count


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--atheris", action="store_true", help="guided by coverage, instead of at random")
    parser.add_argument("--crashes", type=Path, default=Path("fuzz-crashes"), help="folder for texts that break a law")
    options = parser.parse_args()
    return _guided(options) if options.atheris else _at_random(options)


def _at_random(options: argparse.Namespace) -> int:
    draw, texts, end = random.Random(options.seed), corpus(), time.monotonic() + 60 * options.minutes
    count = crashes = 0
    while time.monotonic() < end:
        data = mutated(draw, texts)
        count += 1
        crashes += _kept(data, options.crashes, hold)
    print(f"{count:,} texts, {crashes} broke a law")
    return 1 if crashes else 0


def _kept(data: bytes, folder: Path, law: Callable[[bytes], None]) -> bool:
    """Whether a text breaks a law; then it is kept, one for each kind of error and line."""
    try:
        law(data)
    except Exception as error:
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        where = f"{Path(trace.tb_frame.f_code.co_filename).stem}-{trace.tb_lineno}" if trace else "nowhere"
        kept = folder / f"{type(error).__name__}-{where}.mix"
        if not kept.exists():
            folder.mkdir(parents=True, exist_ok=True)
            kept.write_bytes(data)
            print(f"{kept}: {error!r:.300}", flush=True)
        return True
    return False


def _guided(options: argparse.Namespace) -> int:
    if find_spec("atheris") is None:
        print("error: atheris is not installed\nhelp: pip install atheris, or leave --atheris out", file=sys.stderr)
        return 2
    import atheris  # pyright: ignore[reportMissingImports]

    with atheris.instrument_imports(include=["dsl"]) if options.minutes else nullcontext():
        import dsl.check
        import dsl.format  # noqa: F401
    folder = options.crashes / "corpus"
    folder.mkdir(parents=True, exist_ok=True)
    for number, text in enumerate(corpus()):
        (folder / f"{number:04}.mix").write_bytes(text)

    def one(data: bytes) -> None:
        _kept(data, options.crashes, hold)

    arguments = [sys.argv[0], f"-max_total_time={int(60 * options.minutes)}", f"-seed={options.seed + 1}"]
    atheris.Setup([*arguments, "-max_len=20000", "-verbosity=0", str(folder)], one)
    atheris.Fuzz()  # ends the process
    return 0


if __name__ == "__main__":
    sys.exit(main())
