"""The server: takes what an editor says, asks `dsl.editor`, and answers."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import traceback
from importlib import metadata
from pathlib import Path

from lsprotocol import types
from pygls.exceptions import JsonRpcException, JsonRpcInternalError, JsonRpcInvalidParams
from pygls.lsp.server import LanguageServer
from pygls.uris import from_fs_path, to_fs_path

from dsl.editor.actions import mends
from dsl.editor.completion import completions
from dsl.editor.hover import hover
from dsl.editor.navigation import definition, is_free, named_at, uses
from dsl.editor.outline import outline
from dsl.editor.project import Project
from dsl.editor.target import At
from dsl.editor.view import View
from dsl.files import NAME, NAME_HELP, RESERVED
from dsl.format import format_source
from dsl.source import SourceFile
from mixc.server.convert import completion_item, diagnostic, document_symbol, minimal_edit
from mixc.server.positions import Lines, changed, lines_of
from mixc.server.protocol import MixProtocol

IDLE = 0.005
"""Seconds after a check in which what was published goes out first."""
GATHER = 0.002
"""Seconds to wait for more changes before a check, so that a burst of them is checked once."""
_TRIGGERS = [" ", ".", "(", "=", "$", "[", ",", "|", ">"]

logger = logging.getLogger("mixc")


class MixServer(LanguageServer):
    """What is open, and what was said about it. All work is done on one thread, in the order in which it was asked."""

    def __init__(self, *, allow_outside: bool = False) -> None:
        super().__init__("mixc", metadata.version("mixc"), protocol_cls=MixProtocol)
        self.project = Project(allow_outside=allow_outside)
        self.uris: dict[Path, str] = {}
        self.versions: dict[Path, int] = {}
        self.published: set[Path] = set()
        self.waiting: asyncio.TimerHandle | None = None
        self.is_settled = False
        self.was_shut_down = False

    # Documents.

    def path(self, uri: str) -> Path:
        """The real path of a document; one that is on no disk gets a path in the working folder."""
        path = to_fs_path(uri)
        return Path(os.path.realpath(path if path is not None else uri.replace("/", "_").replace(":", "_")))

    def uri(self, path: Path) -> str:
        """A file as the client calls it."""
        return self.uris.get(path) or from_fs_path(str(path)) or ""

    def lines(self, text: str) -> Lines:
        return lines_of(text, self.workspace.position_encoding or types.PositionEncodingKind.Utf16)

    def open(self, document: types.TextDocumentItem) -> None:
        path = self.path(document.uri)
        self.uris[path], self.versions[path] = document.uri, document.version
        self.project.put(path, document.text)
        self.check_soon()

    def change(self, params: types.DidChangeTextDocumentParams) -> None:
        path = self.path(params.text_document.uri)
        text = self.project.text(path)
        if text is None:
            logger.warning("a change of %s, which isn't open", params.text_document.uri)
            return
        encoding = self.workspace.position_encoding or types.PositionEncodingKind.Utf16
        for each in params.content_changes:
            text = changed(text, each, encoding)
        self.versions[path] = params.text_document.version
        self.project.put(path, text)
        self.check_soon()

    def close(self, uri: str) -> None:
        path = self.path(uri)
        self.project.drop(path)
        self.uris.pop(path, None)
        self.versions.pop(path, None)
        self.check_soon()

    def watch(self) -> None:
        """Ask to be told of `.mix` files that change on disk, which open files may import."""
        workspace = self.client_capabilities.workspace
        watched = workspace.did_change_watched_files if workspace else None
        if watched and watched.dynamic_registration:
            options = types.DidChangeWatchedFilesRegistrationOptions([types.FileSystemWatcher("**/*.mix")])
            registration = types.Registration("mix-files", types.WORKSPACE_DID_CHANGE_WATCHED_FILES, options)
            self.client_register_capability(types.RegistrationParams([registration]))

    # Diagnostics.

    def check_soon(self) -> None:
        """Check once no more changes wait to be read."""
        if self.waiting is None:
            self.waiting = asyncio.get_running_loop().call_later(GATHER, self.check)

    def check(self) -> None:
        """Publish what is wrong with the texts as they are now, and take back what no longer is."""
        self.waiting = None
        try:
            found = dict(self.project.check())
        except Exception as error:
            self.report_server_error(error, type(error))  # pyright: ignore[reportArgumentType]
            return
        with_related = self.shows_related()
        found |= {path: [] for path in self.published - found.keys()}
        for path, diagnostics in found.items():
            uri = self.uri(path)
            shown = [
                diagnostic(one, self.lines(one.source.text), uri, with_related=with_related) for one in diagnostics
            ]
            self.text_document_publish_diagnostics(
                types.PublishDiagnosticsParams(uri, shown, version=self.versions.get(path))
            )
        self.published = {path for path, diagnostics in found.items() if diagnostics}
        asyncio.get_running_loop().call_later(IDLE, self.clean_up)

    def clean_up(self) -> None:
        """Let go of what the last check has left, and of nothing that lives as long as the server.

        Declarations and their files hold one another, so only the collector frees them. Left to itself it came in the
        middle of a check every few keystrokes, over all objects of all packages: 100 ms that someone waits for.
        """
        gc.collect()
        if not self.is_settled:
            gc.freeze()
            self.is_settled = True

    def shows_related(self) -> bool:
        document = self.client_capabilities.text_document
        publish = document.publish_diagnostics if document else None
        return bool(publish and publish.related_information)

    def takes_snippets(self) -> bool:
        document = self.client_capabilities.text_document
        item = document.completion.completion_item if document and document.completion else None
        return bool(item and item.snippet_support)

    def report_server_error(self, error: Exception, source: object) -> None:
        """Tell of what went wrong here without a word on the user's screen; the server goes on.

        What whoever asked did wrong is no news: the answer says it. What can't be read as a message is a line.
        """
        if isinstance(error, JsonRpcException) and not isinstance(error, JsonRpcInternalError):
            return
        if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
            logger.error("left out a message that is no JSON: %s", error)
            return
        text = "".join(traceback.format_exception(error))
        logger.error("%s", text)
        self.window_log_message(types.LogMessageParams(types.MessageType.Error, f"mixc: {error}\n{text}"))

    # Questions.

    def view(self, uri: str) -> View | None:
        return self.project.view(self.path(uri))

    def offset(self, view: View, position: types.Position) -> int:
        return self.lines(view.source.text).offset(position)

    def location(self, at: At) -> types.Location:
        lines = self.lines(at.source.text)
        return types.Location(self.uri(at.path), lines.range(at.span))

    def uses(self, view: View, place: At) -> list[At]:
        """All uses of what is declared at a place, in open files and in those of the project's folder."""
        word = place.source.text[place.span.start : place.span.end]
        return list(uses(self.project.views_with(word, view.scope.root), place))


def create(*, allow_outside: bool = False) -> MixServer:
    """A server that knows every feature, and talks to no one yet."""
    server = MixServer(allow_outside=allow_outside)
    _add_documents(server)
    _add_reading(server)
    _add_names(server)
    _add_edits(server)
    return server


def _add_documents(server: MixServer) -> None:
    @server.feature(types.INITIALIZED)
    def ready(params: types.InitializedParams) -> None:
        server.watch()

    @server.feature(types.TEXT_DOCUMENT_DID_OPEN)
    def opened(params: types.DidOpenTextDocumentParams) -> None:
        server.open(params.text_document)

    @server.feature(types.TEXT_DOCUMENT_DID_CHANGE)
    def edited(params: types.DidChangeTextDocumentParams) -> None:
        server.change(params)

    @server.feature(types.TEXT_DOCUMENT_DID_CLOSE)
    def closed(params: types.DidCloseTextDocumentParams) -> None:
        server.close(params.text_document.uri)

    @server.feature(types.TEXT_DOCUMENT_DID_SAVE)
    def saved(params: types.DidSaveTextDocumentParams) -> None:
        server.check_soon()

    @server.feature(types.WORKSPACE_DID_CHANGE_WATCHED_FILES)
    def changed_on_disk(params: types.DidChangeWatchedFilesParams) -> None:
        server.check_soon()

    @server.feature(types.SHUTDOWN)
    def shut_down(params: None) -> None:
        server.was_shut_down = True


def _add_reading(server: MixServer) -> None:
    options = types.CompletionOptions(trigger_characters=_TRIGGERS)

    @server.feature(types.TEXT_DOCUMENT_COMPLETION, options)
    def complete(params: types.CompletionParams) -> types.CompletionList | None:
        view = server.view(params.text_document.uri)
        if view is None:
            return None
        lines, snippets = server.lines(view.source.text), server.takes_snippets()
        found = completions(view, lines.offset(params.position))
        items = [completion_item(one, index, lines, snippets=snippets) for index, one in enumerate(found)]
        return types.CompletionList(False, items)

    @server.feature(types.TEXT_DOCUMENT_HOVER)
    def tell(params: types.HoverParams) -> types.Hover | None:
        view = server.view(params.text_document.uri)
        found = hover(view, server.offset(view, params.position)) if view else None
        if view is None or found is None:
            return None
        content = types.MarkupContent(types.MarkupKind.Markdown, found.text)
        return types.Hover(content, server.lines(view.source.text).range(found.span))

    @server.feature(types.TEXT_DOCUMENT_DOCUMENT_SYMBOL)
    def symbols(params: types.DocumentSymbolParams) -> list[types.DocumentSymbol]:
        view = server.view(params.text_document.uri)
        if view is None:
            return []
        lines = server.lines(view.source.text)
        return [document_symbol(one, lines) for one in outline(view.document)]


def _add_names(server: MixServer) -> None:
    @server.feature(types.TEXT_DOCUMENT_DEFINITION)
    def define(params: types.DefinitionParams) -> types.Location | None:
        view = server.view(params.text_document.uri)
        place = definition(view, server.offset(view, params.position)) if view else None
        return server.location(place) if place else None

    @server.feature(types.TEXT_DOCUMENT_REFERENCES)
    def refer(params: types.ReferenceParams) -> list[types.Location]:
        view = server.view(params.text_document.uri)
        place = named_at(view, server.offset(view, params.position)) if view else None
        if view is None or place is None:
            return []
        found = server.uses(view, place)
        declaration = (place.path, place.span)
        with_it = params.context.include_declaration
        return [server.location(at) for at in found if with_it or (at.path, at.span) != declaration]

    @server.feature(types.TEXT_DOCUMENT_RENAME)
    def rename(params: types.RenameParams) -> types.WorkspaceEdit | None:
        view = server.view(params.text_document.uri)
        offset = server.offset(view, params.position) if view else 0
        place = named_at(view, offset) if view else None
        if view is None or place is None:
            return None
        if not is_free(view, offset, params.new_name):
            raise JsonRpcInvalidParams(f"can't rename to '{params.new_name}': {_why_not(params.new_name)}")
        edits: dict[str, list[types.TextEdit]] = {}
        for at in server.uses(view, place):
            where = server.location(at)
            edits.setdefault(where.uri, []).append(types.TextEdit(where.range, params.new_name))
        return types.WorkspaceEdit(changes=edits)


def _why_not(name: str) -> str:
    """What is wrong with a name that isn't free."""
    if not NAME.fullmatch(name):
        return NAME_HELP
    return "it means something else in a flow" if name in RESERVED else "the file has this name already"


def _add_edits(server: MixServer) -> None:
    @server.feature(types.TEXT_DOCUMENT_FORMATTING)
    def format_all(params: types.DocumentFormattingParams) -> list[types.TextEdit]:
        text = server.project.text(server.path(params.text_document.uri))
        if text is None:
            return []
        after, wrong = format_source(SourceFile(params.text_document.uri, text))
        return [] if wrong else minimal_edit(text, after, server.lines(text))

    options = types.CodeActionOptions(code_action_kinds=[types.CodeActionKind.QuickFix])

    @server.feature(types.TEXT_DOCUMENT_CODE_ACTION, options)
    def act(params: types.CodeActionParams) -> list[types.CodeAction]:
        view = server.view(params.text_document.uri)
        if view is None:
            return []
        lines, asked = server.lines(view.source.text), server.lines(view.source.text).span(params.range)
        actions: list[types.CodeAction] = []
        for one in server.project.check().get(view.scope.path, []):
            if one.span.start > asked.end or one.span.end < asked.start:
                continue
            shown = diagnostic(one, lines, params.text_document.uri, with_related=server.shows_related())
            for mend in mends(one, view.document):
                edit = types.TextEdit(lines.range(mend.span), mend.text)
                actions.append(
                    types.CodeAction(
                        mend.title,
                        kind=types.CodeActionKind.QuickFix,
                        diagnostics=[shown],
                        is_preferred=mend.is_preferred,
                        edit=types.WorkspaceEdit(changes={params.text_document.uri: [edit]}),
                    )
                )
        return actions
