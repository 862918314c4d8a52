"""Bin packing: which bin each length goes into. No length exceeds a bin's room."""

from __future__ import annotations

from bisect import bisect_left, insort

import numpy as np
from numpy.typing import NDArray


def best_fit(lengths: NDArray[np.int64], room: int) -> tuple[NDArray[np.int64], int]:
    """The bin of each length, and how many bins: longest first, each where it leaves the least room.

    At most 11/9 of the fewest bins, and one (best-fit decreasing; Johnson 1973). Of bins with as much room, the one
    that came to it last.
    """
    longest_first = np.argsort(-lengths, kind="stable")
    bins: list[int] = []
    free: dict[int, list[int]] = {}  # bins by the room that is left in them
    rooms: list[int] = []  # keys of `free`, rising
    count = 0
    for length in lengths[longest_first].tolist():
        at = bisect_left(rooms, length)
        if at < len(rooms):
            left = rooms[at]
            of_room = free[left]
            bin = of_room.pop()
            if not of_room:
                del rooms[at], free[left]
        else:
            left, bin = room, count
            count += 1
        bins.append(bin)
        left -= length
        if left in free:
            free[left].append(bin)
        elif left:
            free[left] = [bin]
            insort(rooms, left)
    found = np.empty(len(lengths), np.int64)
    found[longest_first] = bins
    return found, count


def first_fit(lengths: NDArray[np.int64], room: int) -> tuple[NDArray[np.int64], int]:
    """The bin of each length, and how many bins: in the given order, each in the first bin that has room.

    At most 17/10 of the fewest bins (Dósa and Sgall 2013). Bins stand in the order of their first length.
    """
    width = 1 << max(len(lengths) - 1, 0).bit_length()
    most = [room] * (2 * width)  # a tree of the most room in any bin below; the leaves, from `width` on, are the bins
    bins: list[int] = []
    for length in lengths.tolist():
        node = 1
        while node < width:
            node *= 2
            if most[node] < length:
                node += 1
        bins.append(node - width)
        left = most[node] = most[node] - length
        while node > 1:
            beside = most[node ^ 1]
            node >>= 1
            left = max(left, beside)
            if most[node] == left:
                break
            most[node] = left
    return np.array(bins, np.int64), max(bins, default=-1) + 1
