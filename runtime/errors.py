"""The error that a user can cause and mend; it is printed without a traceback."""

from __future__ import annotations


class UserError(Exception):
    """Says what is wrong in words of the user's world.

    Attributes:
        message: one sentence, without a full stop at the end, that says what is wrong.
        help: what to write or to run instead.
        place: where it is, as the user would name it (`data.jsonl:12`), if there is such a place.
    """

    def __init__(self, message: str, help: str, place: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.help = help
        self.place = place

    def __reduce__(self) -> tuple[type[UserError], tuple[str, str, str | None]]:
        return UserError, (self.message, self.help, self.place)

    def __str__(self) -> str:
        where = "" if self.place is None else f"{self.place}: "
        return f"{where}{self.message}\nhelp: {self.help}"
