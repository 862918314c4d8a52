"""What the checker says of studies, claims and evals: what would run twice, not at all, or decide nothing."""

from __future__ import annotations

import pytest

from tests.dsl.loading import checked

KIT = """
model m:
  from: hf://org/m
model served:
  api: a/b
source docs:
  format: documents
  files: d.jsonl
  holdout: 1%
source more_docs:
  format: documents
  files: more.jsonl
source chats:
  format: chat
  files: c.jsonl
train mid:
  objective: supervised
  loss: all
  sequence: 512 tokens
  batch: 4096 tokens
  optimizer: adamw(lr=1e-4)
  for: 100 steps
train ft:
  objective: supervised
  loss: assistant
  sequence: 512 tokens
  batch: 8 examples
  optimizer: adamw(lr=1e-4)
  for: 100 steps
eval ch:
  choice: e.jsonl
eval margin:
  choice: e.jsonl
  metric: mean(margin)
eval harm:
  prompts: h.jsonl
  judge: served
  prompt: j.md
  answers: [yes, no]
  metric: rate(yes)
eval adh:
  prompts: a.jsonl
  judge: served
  prompt: j.md
  scale: 1..10
eval nll:
  loss: docs.holdout
eval suite:
  suite: [harm, adh]
"""

ONE_ARM = "  base: k.m\n  arms:\n    a: base |> k.ft(data=k.chats)\n"


def found(text: str) -> list[tuple[str, str]]:
    return checked(f"import:\n  k: k.mix\n{text}", k=KIT)


def in_study(lines: str) -> list[tuple[str, str]]:
    """What is found in a study with one arm and these lines more."""
    return found(f"study s:\n{ONE_ARM}{lines}")


def of_claim(claim: str, evals: str = "{k.ch: every 10%, k.margin: end, k.nll: end, k.suite: end}") -> list[str]:
    return [code for code, _ in in_study(f"  evals: {evals}\n  expect:\n    - {claim}\n")]


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        ("k.ch(a) > k.ch(base)", []),
        ("1 > 2", ["MIX0353"]),
        ("k.ch(a) > k.ch(a)", ["MIX0353"]),
        ("k.ch(a) > k.ch(a, at=50%)", []),
        ("k.ch(a) / 0 > 1", ["MIX0353"]),
        ("k.ch(a) / (2 - 2) > 1", ["MIX0353"]),
        ("k.ch(a) / 2 > 0.1", []),
        ("k.suite.harm(a, at=50%) < 0.3", ["MIX0329"]),
        ("k.suite.harm(a, at=start) < 0.3", ["MIX0329"]),
        ("k.suite.harm(a, at=all) < k.suite.harm(base, at=all)", []),
        ("k.harm(a) < 0.3", []),
        ("k.ch(a, at=37%) > 0.3", ["MIX0329"]),
        ("k.ch(a, at=40%) > 0.3", []),
        ("k.ch(a, at=100%) > 0.3", []),
        ("k.ch(a, at=start) > 0.3", ["MIX0329"]),
        ("k.ch(a, at=10 steps) > 0.3", ["MIX0329"]),
        ("k.ch(a, at=every 10%) > 0.3", ["MIX0329"]),
        ("k.ch(a, at=200%) > 0.3", ["MIX0329"]),
        ("k.ch(a, at=end of k.ft) > 0.3", []),
        ("k.ch(a, at=30% of ft) > 0.3", []),
        ("k.ch(a, at=end of mid) > 0.3", ["MIX0329"]),
        ("k.ch(base, at=37%) > 0.3", []),
        ("k.suite(a) > 0.3", ["MIX0329"]),
        ("k.suite.adh(a) >= 11", ["MIX0353"]),
        ("k.suite.adh(a) >= 10", []),
        ("k.suite.adh(a) > 10", ["MIX0353"]),
        ("11 <= k.suite.adh(a)", ["MIX0353"]),
        ("k.suite.adh(a) != 11", ["MIX0353"]),
        ("k.suite.harm(a) <= 300%", ["MIX0353"]),
        ("k.suite.harm(a) >= 0", ["MIX0353"]),
        ("k.suite.harm(a) > 0", []),
        ("k.nll(a) > 0", []),
        ("k.nll(a) < 0", ["MIX0353"]),
        ("k.margin(a) > -3", []),
        ("k.harm(a) > k.adh(a)", ["MIX0352"]),
        ("k.harm(a) + k.adh(a) > 3", ["MIX0352"]),
        ("k.harm(a) * 10 > k.adh(a)", ["MIX0352"]),
        ("k.harm(a) / k.adh(a) > k.harm(base) / k.adh(base)", []),
        ("k.ch(a) >= k.ch(base) - 5%", []),
        ("k.margin(a) >= k.margin(base) - 5%", ["MIX0352"]),
        ("k.margin(a) - k.margin(base) >= 5%", ["MIX0352"]),
        ("k.margin(a) >= k.margin(base) * 0.9 - 5%", ["MIX0352"]),
        ("k.nll(a) <= 5%", ["MIX0352"]),
        ("1 - k.nll(a) <= 5% - k.nll(base)", ["MIX0352"]),
        ("k.adh(a) > 50%", ["MIX0352"]),
        ("k.nll(a) <= k.nll(base) * 105%", []),
        ("k.nll(a) / k.nll(base) <= 105%", []),
    ],
)
def test_claims(claim: str, expected: list[str]):
    assert of_claim(claim) == expected


def test_a_claim_at_the_end_of_what_is_measured_earlier():
    assert of_claim("k.ch(a) > 0.3", "{k.ch: [start, 50%]}") == ["MIX0329"]
    assert of_claim("k.ch(a, at=start) < 0.3", "{k.ch: [start, 50%]}") == []


def test_points_in_steps_are_measured_every_so_many_steps():
    assert of_claim("k.ch(a, at=20 steps) > 0.3", "{k.ch: every 10 steps}") == []
    assert of_claim("k.ch(a) > 0.3", "{k.ch: every 10 steps}") == []
    assert of_claim("k.ch(a, at=25 steps) > 0.3", "{k.ch: every 10 steps}") == ["MIX0329"]


def test_a_claim_twice():
    claims = "  expect:\n    - k.ch(a) > 0.3\n    - k.ch(a)   > 0.3\n    - k.ch(a) > 0.4\n"
    assert in_study("  evals: [k.ch]\n" + claims) == [("MIX0327", "k.ch(a)   > 0.3")]


def test_a_claim_over_a_matrix_is_of_an_arm_or_of_levels():
    text = (
        "study s:\n  base: k.m\n  matrix:\n    - fin: {none: none, chat: k.ft(data=k.chats)}\n"
        "  evals: [k.ch]\n  expect:\n    - k.ch(chat, fin=none) > 0.3\n    - k.ch(fin=chat) > k.ch(fin=none)\n"
    )
    assert found(text) == [("MIX0329", "none")]


def test_a_claim_that_a_study_takes_over_is_mended_there():
    text = (
        "study s:\n  base: k.m\n  arms:\n    a: base |> k.ft(data=k.chats)\n    b: base |> k.mid(data=k.docs)\n"
        "  evals: [k.ch]\n  expect:\n    - k.ch(a) > k.ch(b)\n"
        "study t:\n  extends: s\n  arms:\n    b: drop\n"
    )
    assert found(text) == [("MIX0329", "study t")]
    assert found(text + "  expect:\n    - k.ch(a) > 0.3\n") == []


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        ("k.ch < 0.5", []),
        ("k.ch < 0.8 * k.ch(at=10%)", []),
        ("k.ch < 0.8 * k.ch(at=start)", ["MIX0329"]),
        ("1 < 2", ["MIX0353"]),
        ("k.ch > 3", ["MIX0353"]),
        ("k.ch(base) > 30%", ["MIX0353"]),
        ("k.ch(a) > 30%", ["MIX0353"]),
        ("k.harm < 0.5", ["MIX0353"]),
    ],
)
def test_stop(stop: str, expected: list[str]):
    lines = f"  evals: {{k.ch: every 10%, k.harm: [start, end]}}\n  stop: {stop}\n"
    assert [code for code, _ in in_study(lines)] == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (ONE_ARM, []),
        (ONE_ARM + "  evals: []", [("MIX0325", "evals")]),
        (ONE_ARM + "  evals:\n    k.harm: []", [("MIX0351", "k.harm")]),
        ("  base: k.m\n  evals: [k.ch]", []),
        ("  base: k.m", [("MIX0325", "study s")]),
        ("  arms:\n    a: k.m\n    b: k.served", [("MIX0325", "study s")]),
        ("  base: k.m\n  arms: {}\n  evals: [k.ch]", [("MIX0325", "arms")]),
        ("  base: k.m\n  matrix:\n    - fin: {}\n  evals: [k.ch]", [("MIX0325", "fin")]),
        ("  base: k.m\n  evals:\n    k.ch: [start, 50%]", [("MIX0351", "50%")]),
        ("  base: k.m\n  evals:\n    k.ch: [start, end]", []),
        ("  base: k.m\n  matrix:\n    - at: {none: none, chat: k.ft(data=k.chats)}\n", [("MIX0326", "at")]),
        (ONE_ARM + "    Big: base |> k.mid(data=k.docs)\n", [("MIX0326", "Big")]),
        (ONE_ARM + "  evals:\n    k.ch: [end, 300 steps]", [("MIX0312", "300 steps")]),
        (ONE_ARM + "  evals:\n    k.ch: [end, end of tuna]", [("MIX0328", "end of tuna")]),
    ],
)
def test_nothing_is_silently_left_undone(body: str, expected: list[tuple[str, str]]):
    assert found(f"study s:\n{body}\n") == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("  base: k.m\n  arms:\n    a: k.m |> k.ft(data=k.chats)\n    b: base |> k.ft(data=k.chats)", ["b"]),
        ("  base: k.m\n  arms:\n    a: base\n    b: base |> k.ft(data=k.chats)", ["a"]),
        (ONE_ARM + "    b: base |> k.ft(data=k.chats, optimizer.lr=2e-4)", []),
        ("  base: k.m\n  matrix:\n    - fin: {none: none, nil: none, one: k.ft(data=k.chats)}", ["nil"]),
        ("  base: k.m\n  matrix:\n    - fin: {none: none, one: k.ft(data=k.chats)}", []),
        (ONE_ARM + "  evals: [k.suite, k.harm]", ["k.harm"]),
        (ONE_ARM + "  evals: {k.suite: end, k.harm: every 10%}", ["k.harm"]),
        (ONE_ARM + "  evals: [k.suite, k.ch]", []),
    ],
)
def test_the_same_twice(body: str, expected: list[str]):
    assert found(f"study s:\n{body}\n") == [("MIX0327", each) for each in expected]


def test_a_member_twice_through_a_suite():
    text = "eval all:\n  suite: [k.suite, k.harm, k.ch]\nstudy s:\n" + ONE_ARM + "  evals: [all]\n"
    assert found(text) == [("MIX0327", "k.harm")]


def test_evals_are_listed_as_they_are_declared():
    lines = "  evals:\n    - k.ch(choice=a.jsonl)\n    - k.ch(choice=b.jsonl)\n  expect:\n    - k.ch(a) > 0.3\n"
    assert in_study(lines) == [("MIX0350", "k.ch(choice=a.jsonl)"), ("MIX0350", "k.ch(choice=b.jsonl)")]
    suite = "eval all:\n  suite:\n    - k.ch(choice=a.jsonl)\n    - k.ch\nstudy s:\n" + ONE_ARM + "  evals: [all]\n"
    assert found(suite) == [("MIX0350", "k.ch(choice=a.jsonl)")]


@pytest.mark.parametrize(
    ("before", "body", "expected"),
    [
        ("model w:\n  from: k.m |> k.mid(data=k.docs.holdout)\n", "  arms:\n    y: w |> k.ft(data=k.chats)", True),
        ("model w:\n  from: k.m |> k.mid(data=k.docs.holdout)\n", "  base: w", True),
        ("model w:\n  from: k.m |> k.mid(data=k.docs)\n", "  arms:\n    y: w |> k.ft(data=k.chats)", False),
    ],
)
def test_what_a_model_was_trained_on_before(before: str, body: str, expected: bool):
    codes = [code for code, _ in found(f"{before}study s:\n{body}\n  evals: [k.nll]\n")]
    assert codes == ["MIX0332"] * expected


@pytest.mark.parametrize(
    ("measured", "read", "expected"),
    [
        ("made", "k.more_docs", True),
        ("k.more_docs", "made", True),
        ("made", "sibling", False),
        ("k.more_docs(files=held.jsonl)", "k.more_docs", False),
        ("k.more_docs", "k.more_docs(files=held.jsonl)", False),
    ],
)
def test_rows_and_what_is_made_from_them(measured: str, read: str, expected: bool):
    text = (
        "source made:\n  from: k.more_docs\n  apply:\n    - filter(tokens in 1..20)\n"
        "source sibling:\n  from: k.more_docs\n  apply:\n    - filter(tokens in 30..40)\n"
        f"eval l:\n  loss: ['{measured}']\n"
        f"study s:\n  base: k.m\n  arms:\n    y: base |> k.mid(data={read})\n  evals: [l]\n"
    )
    assert [code for code, _ in found(text) if code != "MIX0340"] == ["MIX0332"] * expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("  classify: {bad: x, good: y}\n", ["MIX0324"]),
        ("  classify: {bad: x}\n  metric: rate(bad)\n", []),
        ("  classify: {bad: x}\n  metric: rate\n", ["MIX0204"]),
        ("  judge: k.served\n  prompt: p\n  answers: [yes, no]\n", ["MIX0324"]),
        ("  judge: k.served\n  prompt: p\n  scale: 1..3\n", []),
        ("  classify: {bad: '([', worse: '(?<=a)b', fine: x}\n  metric: rate(bad)\n", ["MIX0357", "MIX0357"]),
    ],
)
def test_evals_of_prompts(lines: str, expected: list[str]):
    codes = [code for code, _ in found(f"eval e:\n  prompts: e.jsonl\n{lines}study s:\n{ONE_ARM}  evals: [e]\n")]
    assert codes == expected


def test_a_mistake_in_one_arm_hides_none_of_the_others():
    text = (
        "study s:\n  base: k.m\n  arms:\n    a: base |> k.fft(data=k.chats)\n    b: k.served\n"
        "    c: base |> k.mid(data=k.docs.holdout)\n    d: base |> k.ft\n    e: base |> k.fft(data=k.chats)\n"
        "  evals: [k.ch, k.nope, k.nll]\n"
        "  match: tokens(of=fft)\n"
        "  expect:\n    - k.ch(z) > 0.3\n    - k.nope(a) > 0.3\n    - k.ch(a) > k.ch(a)\n"
    )
    assert sorted({code for code, _ in found(text)}) == [
        "MIX0210", "MIX0315", "MIX0329", "MIX0331", "MIX0332", "MIX0353",
    ]  # fmt: skip
    assert ("MIX0329", "z") in found(text)
    assert "MIX0327" not in {code for code, _ in found(text)}


@pytest.mark.parametrize(
    "text",
    [
        "model q:\n  api: $nope\nstudy s:\n  arms:\n    a: q\n    b: k.m\n  evals: [k.ch]\n",
        "study s:\n  base: k.m\n  seeds: [$nope, $nope]\n  evals: [k.ch]\n",
        "study s:\n  base: $nope\n  matrix:\n    - fin: {none: none, one: k.ft(data=k.chats)}\n  evals: [k.ch]\n",
        "study s:\n  base: k.m\n  evals:\n    k.ch: $nope\n  expect:\n    - k.ch(base) > 0.3\n",
        "study s:\n  base: k.m\n  evals: $nope\n  expect:\n    - k.ch(base) > 0.3\n",
        "study s:\n  base: k.m\n  evals: [k.ch]\n  expect: [$nope, $nope]\n",
        "study s:\n  base: k.m\n  arms:\n    a: $nope\n    b: $nope\n  evals: [k.ch]\n",
        "study s:\n  base: k.m\n  arms: $nope\n  evals: [k.ch]\n  expect:\n    - k.ch(base) > 0.3\n",
        "eval e:\n  prompts: e.jsonl\n  classify: {bad: $nope}\n  metric: rate(bad)\n"
        "study s:\n  base: k.m\n  evals: [e]\n",
        "eval e:\n  choice: e.jsonl\n  metric: $nope\nstudy s:\n  base: k.m\n  evals: [e]\n"
        "  expect:\n    - e(base) > 5%\n",
    ],
)  # fmt: skip
def test_nothing_follows_from_a_value_that_is_wrong(text: str):
    assert {code for code, _ in found(text)} == {"MIX0217"}
