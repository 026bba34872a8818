"""Whether what was prepared from tensors still agrees with them, however they were written to since."""

from collections.abc import Iterable, Iterator, Sequence

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

RUN, PERIOD = 127, 1021
"""A chunk of RUN x PERIOD words (1 MB, which stays in a core's cache) is read twice: the sums of its PERIOD runs of RUN
neighbours, and those of its PERIOD classes of places that are PERIOD apart. Odd and prime, so that a change of one
word, an exchange of words, rows or columns, and a change of many signs at once show in one of the two."""
WORD = 8  # bytes


class Sources:
    """The tensors that something was prepared from.

    Where what was prepared refers to a tensor, any write reaches it, and the tensor has to stay in its place. Of others
    a copy is kept (packed, cast, joined), and their contents have to stay. Contents are read and compared, because
    nothing counts the writes: `tensor.data`, numpy and inference tensors leave no trace.
    """

    def __init__(self, tensors: Sequence[Tensor], held: Iterable[Tensor]) -> None:
        """`held` are the tensors that what was prepared consists of."""
        places = {_place(tensor) for tensor in held}
        # The place of a tensor that is referred to, None for one that is copied: it may be freed.
        self._places = [tensor.detach() if _place(tensor) in places else None for tensor in tensors]
        self._contents = _contents(self._copied(tensors))

    def are(self, tensors: Sequence[Tensor]) -> bool:
        """Whether these are the tensors, with the contents that they had; waits for their device once."""
        if len(tensors) != len(self._places):
            return False
        for tensor, place in zip(tensors, self._places, strict=True):
            if place is not None and not (tensor.dtype == place.dtype and tensor.is_set_to(place)):
                return False
        (kinds, read), (old_kinds, old) = _contents(self._copied(tensors)), self._contents
        return kinds == old_kinds and (not kinds or torch.equal(read, old))

    def _copied(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        return [tensor for tensor, place in zip(tensors, self._places, strict=True) if place is None]


def _place(tensor: Tensor) -> tuple[int, torch.dtype, torch.Size, tuple[int, ...]]:
    return tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride()


def _contents(tensors: Sequence[Tensor]) -> tuple[list[tuple[torch.dtype, torch.device, torch.Size]], Tensor]:
    """The kinds of all `tensors`, and what they hold: small ones whole, of large ones the sums of their chunks."""
    small: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    parts: list[Tensor] = []
    for tensor in tensors:
        if tensor.nbytes < RUN * PERIOD * WORD:
            small.setdefault((tensor.dtype, tensor.device), []).append(tensor.detach().flatten())
        else:
            parts += _read(_bytes(tensor))
    parts += [torch.cat(alike).view(torch.uint8) for alike in small.values()]
    read = torch.cat([part.to(parts[0].device) for part in parts]) if parts else torch.empty(0, dtype=torch.uint8)
    return [(tensor.dtype, tensor.device, tensor.shape) for tensor in tensors], read


def _read(data: UInt8[Tensor, " bytes"]) -> Iterator[UInt8[Tensor, " _bytes"]]:
    """The sums of all whole chunks, and the rest as it is."""
    whole = len(data) - len(data) % (RUN * PERIOD * WORD)
    words = data[:whole].clone() if data.storage_offset() % WORD else data[:whole]
    yield _sums(words.view(torch.int64)).view(-1).view(torch.uint8)
    yield data[whole:]


def _sums(words: Int64[Tensor, " words"]) -> Int64[Tensor, "chunks 2 period"]:
    """The two kinds of sums of every chunk, modulo 2^64; as fast as memory is read, on all threads."""
    chunks = words.view(-1, RUN * PERIOD)
    sums = chunks.new_empty(len(chunks), 2, PERIOD)
    threads = torch.get_num_threads() if words.device.type == "cpu" else len(chunks)
    for several, found in zip(chunks.split(threads), sums.split(threads), strict=True):
        torch.sum(several.view(-1, PERIOD, RUN), dim=2, out=found[:, 0])
        torch.sum(several.view(-1, RUN, PERIOD), dim=1, out=found[:, 1])
    return sums


def _bytes(tensor: Tensor) -> UInt8[Tensor, " bytes"]:
    """The bytes of a tensor as they lie in memory where it has no gaps there, else in the order of its axes."""
    axes = sorted(range(tensor.ndim), key=lambda axis: -tensor.stride(axis))
    return tensor.detach().permute(axes).contiguous().view(-1).view(torch.uint8)
