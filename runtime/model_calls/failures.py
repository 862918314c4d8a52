"""Failures of calls: which pass and are tried again, and what a user is told of the others."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.errors import UserError

if TYPE_CHECKING:
    from inspect_ai.model import ModelAPI

_PASSING = (408, 409, 425, 429)
_VARIABLES = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*_(?:API_KEY|BASE_URL|TOKEN|KEY|ENDPOINT)\b")
_SHOWN = 300  # characters of what a provider says


@dataclass(frozen=True)
class Patience:
    """How a call is tried again. This is the only layer that does: Inspect and the providers' clients are told not to.

    Attributes:
        retries: how often at most, after the first attempt.
        first: seconds of the first wait at most; each further one is twice as long. The wait is drawn between half of
            that and all of it, or is what the server asks for, if that is longer.
        longest: seconds that such a wait may grow to.
        asked: seconds of a wait that a server may ask for; a longer one ends the run.
        timeout: seconds that one attempt may take.
    """

    retries: int = 10
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
    """A failure that may pass. `asked` are the seconds that the server wants to be left alone for."""

    reason: str
    asked: float | None = None


def judged(error: Exception, api: ModelAPI, model: str) -> Passing | UserError:
    """What a failed attempt means: another one, or the end."""
    cause = error
    if type(error).__name__ == "ModelGenerateError" and isinstance(error.__cause__, Exception):
        cause = error.__cause__  # Inspect's own adds the whole request to the text
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
    decision = api.should_retry(cause)
    asked = None if isinstance(decision, bool) else decision.retry_after
    if status is not None:
        return Passing(f"error {status}: {text}", asked)
    if decision:
        return Passing(f"no connection: {text}", asked)
    return Passing(f"an answer that can't be read: {text}")


def given_up(failure: Passing, model: str, attempts: int) -> UserError:
    """A call failed as often as it may."""
    return UserError(
        f"{model} failed {attempts} times in a row: {failure.reason}",
        "see whether its server is well, and run the same command again; answers so far are kept",
    )


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


def _status(error: BaseException) -> int | None:
    for name in ("status_code", "code"):
        status = getattr(error, name, None)
        if isinstance(status, int) and not isinstance(status, bool):
            return status
    return None


def _told(error: BaseException, api: ModelAPI) -> str:
    """What the error says, in a line and without the key."""
    text = " ".join(str(error).split()) or type(error).__name__
    if api.api_key:
        text = text.replace(api.api_key, "…")
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
