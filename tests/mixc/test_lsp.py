"""The language server as an editor meets it: a process that is spoken to over its stdin and stdout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.mixc.lsp_client import Client, edit

SPEC = """\
edition: 2026

import:
  common: common.mix

model judge:
  doc: Judges transcripts.
  api: a/b
  temprature: 0

model tuned:
  from: common.start |> common.finetune(data=chats)

source chats:
  format: chat
  files: data/*.jsonl
  apply:
    - score(as=care, with=judge, prompt=care.md, scale=1..4)
"""
COMMON = """\
edition: 2026

model start:
  from: hf://a/b@c

train finetune:
  doc: Chats, only assistant tokens count.
  objective: supervised
  sequence: 2048 tokens
  batch: 32 examples
  optimizer: adamw(lr=1e-4)
"""


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    folder = tmp_path / "my spécs"
    folder.mkdir()
    (folder / "mixc.toml").write_text("")
    (folder / "common.mix").write_text(COMMON)
    (folder / "main.mix").write_text(SPEC)
    with Client(folder) as one:
        one.start()
        yield one


def codes(diagnostics: list[dict[str, Any]]) -> list[str]:
    return [one["code"] for one in diagnostics]


def test_what_it_says_it_can(tmp_path: Path):
    with Client(tmp_path) as client:
        capabilities = client.start()["capabilities"]
        assert capabilities["positionEncoding"] == "utf-16"
        assert capabilities["textDocumentSync"]["change"] == 2
        for name in ("hover", "definition", "references", "documentSymbol", "documentFormatting", "rename"):
            assert capabilities[f"{name}Provider"], name
        assert "." in capabilities["completionProvider"]["triggerCharacters"]
        assert client.stop() == 0


def test_leaving_without_a_word_is_an_error(tmp_path: Path):
    with Client(tmp_path) as client:
        client.start()
        client.write({"method": "exit", "params": None})
        assert client.process.wait(60) == 1
    with Client(tmp_path) as client:
        client.start()
        assert client.process.stdin is not None
        client.process.stdin.close()
        assert client.process.wait(60) == 1


def test_diagnostics_have_place_mend_and_page(client: Client):
    client.open("main.mix", SPEC)
    (one,) = client.diagnostics("main.mix")
    assert (one["code"], one["source"], one["severity"]) == ("MIX0203", "mixc", 1)
    assert one["range"] == {"start": {"line": 8, "character": 2}, "end": {"line": 8, "character": 12}}
    assert one["message"] == "unknown field 'temprature' in model judge\nhelp: did you mean 'temperature'?"
    assert one["relatedInformation"][0]["message"] == "`mixc explain MIX0203`: unknown field"


def test_diagnostics_follow_the_text(client: Client):
    client.open("main.mix", SPEC)
    assert codes(client.diagnostics("main.mix")) == ["MIX0203"]
    client.change("main.mix", edit(8, 2, 12, "temperature"), edit(11, 50, 50, ", optimizer=sdg(lr=1)"))
    assert codes(client.diagnostics("main.mix")) == ["MIX0209"]
    client.change("main.mix", {"text": "edition: 2026\n"})
    assert client.diagnostics("main.mix") == []


def test_a_burst_of_changes_ends_with_the_newest_text(client: Client):
    client.open("main.mix", SPEC)
    for letter in "abcdefgh":
        client.change("main.mix", edit(8, 2, 2, letter))
    assert "hgfedcbatemprature" in client.diagnostics("main.mix")[0]["message"]
    versions = [one["params"].get("version") for one in client.notes]
    assert versions == sorted(versions)


def test_only_the_buffer_of_an_import_is_changed(client: Client):
    client.open("main.mix", SPEC)
    client.open("common.mix", COMMON)
    assert codes(client.diagnostics("main.mix")) == ["MIX0203"]
    client.change("common.mix", edit(5, 6, 14, "tune"))
    unknown = [one for one in client.diagnostics("main.mix") if one["code"] == "MIX0210"]
    while not unknown:
        unknown = [one for one in client.diagnostics("main.mix") if one["code"] == "MIX0210"]
    assert unknown[0]["message"].startswith("unknown name 'common.finetune'")
    client.write({"method": "textDocument/didClose", "params": {"textDocument": {"uri": client.uri("common.mix")}}})
    while "MIX0210" in codes(client.diagnostics("main.mix")):
        pass


def test_what_is_wrong_in_a_file_that_is_not_open_is_told_and_taken_back(client: Client):
    (client.folder / "common.mix").write_text(COMMON.replace("supervised", "supervisd"))
    client.open("main.mix", SPEC)
    assert codes(client.diagnostics("common.mix")) == ["MIX0209"]
    client.write({"method": "textDocument/didClose", "params": {"textDocument": {"uri": client.uri("main.mix")}}})
    client.versions.clear()
    assert client.diagnostics("common.mix") == []


def test_an_import_that_can_not_be_read(client: Client):
    (client.folder / "common.mix").write_bytes(b"\xff\xfe")
    client.open("main.mix", SPEC)
    assert "MIX0214" in codes(client.diagnostics("main.mix"))
    (client.folder / "common.mix").unlink()
    client.change("main.mix", edit(0, 13, 13, "\n"))
    assert "MIX0214" in codes(client.diagnostics("main.mix"))
    assert client.at("definition", "main.mix", 4, 4) is not None
    assert client.at("completion", "main.mix", 12, 9)["items"]


def test_files_that_change_on_disk(client: Client):
    (watched,) = client.note("client/registerCapability")["registrations"]
    assert watched["method"] == "workspace/didChangeWatchedFiles"
    client.open("main.mix", SPEC)
    assert codes(client.diagnostics("main.mix")) == ["MIX0203"]
    (client.folder / "common.mix").write_text(COMMON.replace("finetune", "tune"))
    change = {"uri": client.uri("common.mix"), "type": 2}
    client.write({"method": "workspace/didChangeWatchedFiles", "params": {"changes": [change]}})
    assert codes(client.diagnostics("main.mix")) == ["MIX0203", "MIX0210"]


def test_completion(client: Client):
    client.open("main.mix", SPEC)
    items = {one["label"]: one for one in client.at("completion", "main.mix", 8, 4)["items"]}
    assert "extends" in items
    client.change("main.mix", edit(10, 0, 0, "train more:\n  optimizer: \n"))
    items = {one["label"]: one for one in client.at("completion", "main.mix", 11, 13)["items"]}
    assert items["adamw"]["textEdit"]["newText"] == "adamw(lr=$1)"
    assert items["adamw"]["insertTextFormat"] == 2
    assert items["adamw"]["documentation"]["value"]


def test_columns_are_counted_in_code_units(tmp_path: Path):
    text = 'edition: 2026\n\nmodel judge:\n  doc: 日本 😀😀\n  api: "😀 b"  # 😀\n  extends: judgee\n'
    line = '  "😀": 1'
    for encoding, columns in (("utf-16", (2, 6)), ("utf-8", (2, 8)), ("utf-32", (2, 5))):
        with Client(tmp_path, encodings=[encoding]) as client:
            assert client.start()["capabilities"]["positionEncoding"] == encoding
            client.open("a.mix", text + line + "\n")
            wrong = next(one for one in client.diagnostics("a.mix") if one["code"] == "MIX0203")
            assert (wrong["range"]["start"]["character"], wrong["range"]["end"]["character"]) == columns
            client.change("a.mix", edit(6, *columns, "temperature"))
            assert "MIX0203" not in codes(client.diagnostics("a.mix"))
            assert client.stop() == 0


def test_lines_end_only_where_the_protocol_says(client: Client):
    """A form feed and U+2028 are no line ends there, though Python splits lines at them."""
    client.open("main.mix", "edition: 2026\nmodel a:\n  doc: x\u2028y\x0cz\n  api: p/q\n  wrong: 1\n")
    assert "MIX0102" in codes(client.diagnostics("main.mix"))
    client.change("main.mix", edit(2, 8, 11, ""), edit(4, 2, 7, "max_tokens"))
    wrong = [one for one in client.diagnostics("main.mix") if one["severity"] == 1]
    assert codes(wrong) == []
    client.change("main.mix", edit(4, 2, 6, "wrong"))
    (one,) = [one for one in client.diagnostics("main.mix") if one["severity"] == 1]
    assert one["range"]["start"] == {"line": 4, "character": 2}


def test_hover(client: Client):
    client.open("main.mix", SPEC)
    told = client.at("hover", "main.mix", 11, 31)
    assert "Chats, only assistant tokens count." in told["contents"]["value"]
    assert told["range"] == {"start": {"line": 11, "character": 31}, "end": {"line": 11, "character": 39}}
    assert client.at("hover", "main.mix", 1, 0) is None


def test_definition_and_references_over_files(client: Client):
    client.open("main.mix", SPEC)
    place = client.at("definition", "main.mix", 11, 35)
    assert place["uri"] == client.uri("common.mix")
    assert place["range"]["start"] == {"line": 5, "character": 6}
    client.open("common.mix", COMMON)
    found = client.at("references", "common.mix", 5, 8, context={"includeDeclaration": True})
    assert {(one["uri"].rpartition("/")[2], one["range"]["start"]["line"]) for one in found} == {
        ("common.mix", 5),
        ("main.mix", 11),
    }
    assert len(client.at("references", "common.mix", 5, 8, context={"includeDeclaration": False})) == 1


def test_rename(client: Client):
    client.open("main.mix", SPEC)
    changes = client.at("rename", "main.mix", 11, 35, newName="tune")["changes"]
    assert {uri.rpartition("/")[2] for uri in changes} == {"main.mix", "common.mix"}


def test_rename_says_why_it_can_not(client: Client):
    client.open("main.mix", SPEC)
    document = {"textDocument": {"uri": client.uri("main.mix")}, "position": {"line": 11, "character": 35}}
    for name, why in (
        ("Not A Name", "a name is lower-case letters"),
        ("start", "the file has this name already"),
        ("base", "it means something else in a flow"),
    ):
        error = client.answer("textDocument/rename", document | {"newName": name})["error"]
        assert error["message"].startswith(f"can't rename to '{name}': {why}")
    assert client.stop() == 0
    client.process.wait()
    assert not [one for one in client.notes if one.get("method") == "window/logMessage"]


def test_a_pipe_among_the_files_holds_nothing_up(client: Client):
    os.mkfifo(client.folder / "pipe.mix")
    client.open("main.mix", SPEC.replace("common.mix\n", "common.mix\n  pipe: pipe.mix\n"))
    assert "MIX0214" in codes(client.diagnostics("main.mix"))
    assert len(client.at("references", "main.mix", 12, 35, context={"includeDeclaration": True})) == 2


def test_what_is_no_message_is_a_line_in_the_log(tmp_path: Path):
    with Client(tmp_path) as client:
        client.start()
        for body in (b"{ this is no JSON", b"[1, 2]", b"3", b'{"a": 1}', b'"\xff"'):
            client.write_raw(body)
        assert client.stop() == 0
        assert not [one for one in client.notes if one.get("method") == "window/logMessage"]
        for reader in client.readers:
            reader.join()
        lines = b"".join(client.errors).decode().splitlines()
        assert len(lines) == 5
        assert all(line.startswith("mixc: left out a message that is") for line in lines)


def test_outline(client: Client):
    client.open("main.mix", SPEC)
    document = {"textDocument": {"uri": client.uri("main.mix")}}
    symbols = client.request("textDocument/documentSymbol", document)
    assert [one["name"] for one in symbols] == ["common", "judge", "tuned", "chats"]
    assert [one["name"] for one in symbols[1]["children"]] == ["doc", "api", "temprature"]


def test_formatting(client: Client):
    options = {"textDocument": {"uri": client.uri("main.mix")}, "options": {"tabSize": 2, "insertSpaces": True}}
    client.open("main.mix", SPEC)
    assert client.request("textDocument/formatting", options) == []
    client.change("main.mix", edit(7, 6, 7, "   "))
    (change,) = client.request("textDocument/formatting", options)
    assert change["newText"] == ""
    assert change["range"]["start"]["line"] == change["range"]["end"]["line"] == 7
    client.change("main.mix", edit(7, 2, 5, "["))
    assert client.request("textDocument/formatting", options) == []


def test_a_mend_at_a_keypress(client: Client):
    client.open("main.mix", SPEC)
    client.diagnostics("main.mix")
    place = {"start": {"line": 8, "character": 4}, "end": {"line": 8, "character": 4}}
    params = {"textDocument": {"uri": client.uri("main.mix")}, "range": place, "context": {"diagnostics": []}}
    (action,) = client.request("textDocument/codeAction", params)
    assert (action["title"], action["kind"], action["isPreferred"]) == ("Write 'temperature'", "quickfix", True)
    (change,) = action["edit"]["changes"][client.uri("main.mix")]
    client.change("main.mix", {"range": change["range"], "text": change["newText"]})
    assert "MIX0203" not in codes(client.diagnostics("main.mix"))


def test_nonsense_does_not_end_it(client: Client):
    client.open("main.mix", SPEC)
    client.change("nowhere.mix", edit(0, 0, 0, "x"))
    client.change("main.mix", edit(10_000, 5, 90, "\n# end"), edit(3, 500, 2, ""))
    assert codes(client.diagnostics("main.mix")) == ["MIX0203"]
    client.write_raw(b"{ this is no JSON")
    client.write({"method": "no/such", "params": {}})
    assert client.answer("no/such/request", {})["error"]["code"] == -32601
    assert "error" in client.answer("textDocument/hover", {"textDocument": 3})
    assert client.at("hover", "nowhere.mix", 0, 0) is None
    assert client.at("hover", "main.mix", 99, 99) is None
    assert client.at("completion", "nowhere.mix", 0, 0) is None
    document = {"textDocument": {"uri": "untitled:Untitled-1"}}
    assert client.request("textDocument/documentSymbol", document) == []
    assert client.at("hover", "main.mix", 5, 3) is not None
    assert client.stop() == 0


def test_a_document_that_is_on_no_disk(client: Client):
    uri = "untitled:Untitled-1"
    document = {"uri": uri, "languageId": "mix", "version": 1, "text": "edition: 2026\nmodle a:\n  api: b/c\n"}
    client.write({"method": "textDocument/didOpen", "params": {"textDocument": document}})
    published = client.note("textDocument/publishDiagnostics")
    assert (published["uri"], codes(published["diagnostics"])) == (uri, ["MIX0201"])


def test_an_unexpected_exception_is_an_answer(tmp_path: Path):
    script = (
        "import sys, mixc.server.server as server\n"
        "def broken(*_): raise RuntimeError('a bug')\n"
        "server.hover = broken\n"
        "print('a stray word')\n"
        "from mixc.cli.main import main\nsys.exit(main(['lsp']))"
    )
    script = script.replace("print('a stray word')\n", "server.outline = lambda *_: print('a stray word') or []\n")
    with Client(tmp_path, command=[sys.executable, "-c", script]) as client:
        client.start()
        client.open("main.mix", "edition: 2026\n")
        params = {"textDocument": {"uri": client.uri("main.mix")}, "position": {"line": 0, "character": 0}}
        assert "a bug" in client.answer("textDocument/hover", params)["error"]["message"]
        assert client.request("textDocument/documentSymbol", {"textDocument": {"uri": client.uri("main.mix")}}) == []
        assert "RuntimeError" in json.dumps(client.note("window/logMessage"))
        assert client.stop() == 0


def test_it_imports_no_jax_and_says_what_is_missing():
    script = (
        "import sys, mixc.server.server\n"
        "print(sorted({'jax', 'numpy', 'pyarrow', 'flax'} & set(sys.modules)))\n"
        "for name in list(sys.modules):\n"
        "    if name.startswith(('pygls', 'mixc.server')):\n        del sys.modules[name]\n"
        "sys.modules['pygls'] = None\n"
        "from mixc.cli.main import main\nsys.exit(main(['lsp']))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n"
    assert done.returncode == 1
    assert done.stderr.startswith("error: the language server needs pygls")
    assert "pip install pygls" in done.stderr
