"""The protocol as pygls speaks it, but for what would lose an edit or leave a question without an answer."""

from __future__ import annotations

import logging
from collections.abc import Generator
from typing import Any

from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.protocol import LanguageServerProtocol
from pygls.protocol.language_server import lsp_method

logger = logging.getLogger("mixc")


class MixProtocol(LanguageServerProtocol):
    @lsp_method(types.TEXT_DOCUMENT_DID_CHANGE)
    def lsp_text_document__did_change(self, params: types.DidChangeTextDocumentParams) -> Generator[Any, Any, None]:
        """Hands changes on as they came: pygls would apply them to a copy of its own, and move their places, since it
        takes form feeds and U+2028 for line ends."""
        yield self.fm.features[types.TEXT_DOCUMENT_DID_CHANGE], (params,), None

    def structure_message(self, data: dict[str, Any]) -> Any:
        """A message as its type. One that has no such form is an error, which whoever asked is told."""
        try:
            return super().structure_message(data)
        except JsonRpcException as error:
            if "id" in data and "method" in data:
                self._send_response(data["id"], error=error.to_response_error())
            raise

    def handle_message(self, message: Any) -> None:
        """Handles a message. JSON that is none, such as a list, is left out: it has no sender to answer."""
        if hasattr(message, "jsonrpc"):
            super().handle_message(message)
        else:
            logger.error("left out a message that isn't JSON-RPC")
