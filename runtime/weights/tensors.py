"""Published tensors of an opened model, whatever files they come in."""

from __future__ import annotations

from abc import ABC, abstractmethod

from runtime.weights.layout import Tensor


class Tensors(ABC):
    """Reads float32 tensors by their published names; matrices are `[outputs, inputs]`."""

    @abstractmethod
    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape, without reading it."""

    @abstractmethod
    def part(self, name: str, index: tuple[slice, ...]) -> Tensor:
        """What lies within one slice for each dimension, with nothing else read that needn't be."""

    def whole(self, name: str) -> Tensor:
        """All of a tensor."""
        return self.part(name, tuple(slice(0, size) for size in self.shape(name)))
