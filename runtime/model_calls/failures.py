"""Failures of calls: which pass and are tried again, and what a user is told of them."""

from __future__ import annotations

import errno
import random
import re
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runtime.errors import UserError

if TYPE_CHECKING:
    from inspect_ai.model import ModelAPI

_PASSING = (408, 409, 425, 429)
_VARIABLES = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*_(?:API_KEY|BASE_URL|TOKEN|KEY|ENDPOINT)\b")
_SHOWN = 300  # characters of what a provider says
_NOWHERE = (errno.ECONNREFUSED, errno.ENETUNREACH, errno.EHOSTUNREACH)
SAID_SECONDS = 60.0
"""How often a user is told that calls still wait for the same reason."""


@dataclass(frozen=True)
class Patience:
    """How a call is tried again. This is the only layer that does: Inspect and the providers' clients are told not to.

    Attributes:
        retries: how often at most, after the first attempt.
        unreached: the same while nobody is there to connect to and no call has succeeded yet: rather a wrong address.
        first: seconds of the first wait at most; each further one is twice as long. The wait is drawn between half of
            that and all of it, or is what the server asks for, if that is longer.
        longest: seconds that such a wait may grow to.
        asked: seconds of a wait that a server may ask for; a longer one ends the run.
        timeout: seconds that one attempt may take.
    """

    retries: int = 10
    unreached: int = 2
    first: float = 1.0
    longest: float = 60.0
    asked: float = 600.0
    timeout: float = 900.0

    def wait(self, retry: int, drawn: float, asked: float | None) -> float:
        """Seconds before the retry of a number from 0; `drawn` is from 0 to 1."""
        grown = min(self.first * 2**retry, self.longest)
        return max(grown * (1 + drawn) / 2, asked or 0.0)


@dataclass(frozen=True)
class Passing:
    """A failure that may pass.

    Attributes:
        kind: in a few words, the same ones for all such failures.
        told: what the provider says.
        asked: seconds that the server wants to be left alone for.
        unreached: nobody is there to connect to: refused, or a name that isn't found.
    """

    kind: str
    told: str = ""
    asked: float | None = None
    unreached: bool = False

    @property
    def reason(self) -> str:
        return f"{self.kind}: {self.told}" if self.told else self.kind


@dataclass
class Retries:
    """Whether and when the failed calls of one model are tried again. It tells the user for what they wait.

    Attributes:
        model: as the spec calls it.
        say: tells the user a line.
        succeeded: whether any call has.
    """

    model: str
    patience: Patience
    say: Callable[[str], None]
    succeeded: bool = False
    _said: dict[str, float] = field(default_factory=dict)

    def wait(self, failure: Passing, retry: int) -> float:
        """Seconds before the retry of a number from 0. Raises UserError where there is to be none."""
        most = self.patience.retries
        if failure.unreached and not self.succeeded:
            most = min(most, self.patience.unreached)
        if retry >= most or (failure.asked or 0) > self.patience.asked:
            raise _given_up(failure, self.model, retry + 1)
        now = time.monotonic()
        if now - self._said.get(failure.kind, -SAID_SECONDS) >= SAID_SECONDS:
            self._said[failure.kind] = now
            self.say(f"{self.model}: {failure.kind}, trying again" + (f" ({failure.told})" if failure.told else ""))
        return self.patience.wait(retry, random.random(), failure.asked)


def judged(error: Exception, api: ModelAPI, model: str) -> Passing | UserError:
    """What a failed attempt means: another one, or the end."""
    cause = _unwrapped(error)
    if type(cause).__name__ == "ModelGenerateError" and isinstance(cause.__cause__, Exception):
        cause = cause.__cause__  # Inspect's own adds the whole request to the text
    status = _status(cause)
    text = _told(cause, api)
    variables = " or ".join(api.api_key_vars) or "the provider's key"
    if status in (401, 403):
        return UserError(
            f"{model} refuses the key ({status})", f"set {variables} in the environment to a key that may use the model"
        )
    if status == 404:
        return UserError(
            f"there is no {model} at its server (404): {text}", "look at the name in `api:`, and at the base URL"
        )
    if "insufficient_quota" in text or status == 402:
        return UserError(f"the account for {model} has no credit left: {text}", "add credit; answers so far are kept")
    if status is not None and status not in _PASSING and status < 500:
        return UserError(f"{model} refuses the call ({status}): {text}", "look at the model's settings in the spec")
    if isinstance(cause, TimeoutError):
        return Passing("no answer in time")
    for reason in _reasons(cause):
        if isinstance(reason, socket.gaierror) or (isinstance(reason, OSError) and reason.errno in _NOWHERE):
            return Passing("no connection", _told(reason, api), unreached=True)
    decision = api.should_retry(cause)
    asked = None if isinstance(decision, bool) else decision.retry_after
    if status is not None:
        return Passing(f"error {status}", text, asked)
    if decision:
        return Passing("no connection", text, asked)
    return Passing("an answer that can't be read", text)


def not_opened(error: Exception, model: str) -> UserError:
    """Inspect couldn't make a client: a variable of the environment or a package is missing, or the provider."""
    text = re.sub(r"\[/?\w[^\]]*\]", "", str(getattr(error, "message", error))).strip()
    variables = list(dict.fromkeys(_VARIABLES.findall(text)))
    if variables:
        return UserError(f"{model} can't be asked without {' or '.join(variables)}", "set it in the environment")
    return UserError(
        f"{model} can't be asked: {' '.join(text.split())[:_SHOWN]}",
        "`api:` is PROVIDER/NAME, as in openai/gpt-4.1 or openai-api/local/NAME for a server of your own",
    )


def _given_up(failure: Passing, model: str, attempts: int) -> UserError:
    """A call failed as often as it may."""
    return UserError(
        f"{model} failed {attempts} times in a row: {failure.reason}",
        "see whether its server is well, and run the same command again; answers so far are kept",
    )


def _status(error: BaseException) -> int | None:
    for name in ("status_code", "code"):
        status = getattr(error, name, None)
        if isinstance(status, int) and not isinstance(status, bool):
            return status
    return None


def _unwrapped(error: Exception) -> Exception:
    """Inspect's own layer of retries, which is told to try once, wraps what it gave up on."""
    last = getattr(error, "last_attempt", None)
    cause = last.exception() if last is not None else None
    return cause if isinstance(cause, Exception) else error


def _reasons(error: BaseException) -> Iterator[BaseException]:
    """The error and all that led to it: a client wraps what the system says, once for each address that it tried."""
    yield error
    led = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    for reason in (*led, error.__cause__ or error.__context__):
        if reason is not None:
            yield from _reasons(reason)


def _told(error: BaseException, api: ModelAPI) -> str:
    """What the error says, in a line and without the key."""
    text = " ".join(str(error).split()) or type(error).__name__
    if api.api_key:
        text = text.replace(api.api_key, "…")
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
