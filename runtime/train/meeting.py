"""Where all processes of a training agree after which update to stop or to save, without waiting for each other."""

from __future__ import annotations

from threading import Event
from typing import Literal, NamedTuple

from runtime.distributed import Processes

_AHEAD = 2
"""How far past the last known update of any process the agreed one lies.

A process asks `after(u)` once update `u - 1` is done, for which all had to dispatch it. So when the last of them says
where it is, `l`, the others have asked for `l + 1` at most, and see all places when they ask for `l + 2` at the latest.
"""


class Due(NamedTuple):
    """What is due after an update."""

    stop: bool
    save: bool


class Meeting:
    """Asked after each update by every process, in its turn.

    One of them wishes, each says where it is, and what is wished for falls due at an update that none has passed.
    """

    def __init__(self, processes: Processes, stop: Event) -> None:
        self._processes = processes.branch("meeting")
        self._stop = stop
        self._number = 0
        self._due: tuple[int, Due] | None = None

    def begins(self) -> bool:
        """Whether nobody wishes to stop before the first update; waits for all."""
        return not any(self._processes.gathered(self._stop.is_set()))

    def after(self, update: int, *, save: bool) -> Due:
        """What is due after an update. `save` is this process's wish to save; that of the first one counts."""
        if self._processes.count == 1:
            return Due(self._stop.is_set(), save)
        if self._due is None:
            self._due = self._agreed(update, save)
        if self._due is None or self._due[0] != update:
            return Due(False, False)
        due, self._due = self._due[1], None
        self._number += 1
        return due

    def _agreed(self, update: int, save: bool) -> tuple[int, Due] | None:
        """The update at which something is due, once all have said where they are."""
        processes, meeting = self._processes, f"meeting/{self._processes.name}/{self._number}"
        wish: Literal["stop", "save"] | None = "stop" if self._stop.is_set() else None
        if wish is None and save and processes.first:
            wish = "save"
        if wish is not None:
            processes.post(meeting, wish)
        wished = processes.posted(meeting)
        if wished is None:
            return None
        processes.post(f"{meeting}/{processes.index}", str(update))
        places = [processes.posted(f"{meeting}/{index}") for index in range(processes.count)]
        known = [int(place) for place in places if place is not None]
        if len(known) < processes.count:
            return None
        return max(known) + _AHEAD, Due(wished == "stop", wished == "save")
