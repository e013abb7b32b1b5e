"""Two pipes between a run and a guest: frames of JSON and of arrays, each of a stated and bounded length.

A frame is two lengths (eight bytes each, big-endian), so many bytes of JSON, and so many bytes of arrays as
safetensors, a format that can hold numbers only. Nothing is ever unpickled, in either direction. It does not know what
a message means, and believes nothing of what it reads: whoever reads checks it (`messages`, `specs`).
"""

import struct
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

__all__ = ["MAX_BYTES", "Arrays", "Channel", "ChannelError"]

MAX_BYTES = 2**28
"""Of the JSON of one frame, and of its arrays."""
_LENGTHS = struct.Struct(">QQ")

Arrays = Mapping[str, "np.ndarray"]


class ChannelError(Exception):
    """What was read is no frame; the message says why, and holds nothing that was read."""


class Channel:
    """One end of the two pipes."""

    def __init__(self, source: IO[bytes], sink: IO[bytes]) -> None:
        self._source, self._sink = source, sink

    def send(self, text: bytes, arrays: Arrays | None = None) -> None:
        """Write one frame.

        Raises:
            ChannelError: it is larger than a reader would take.
            OSError: nobody reads any more.
        """
        packed = b""
        if arrays:
            import numpy as np
            from safetensors.numpy import save

            packed = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
        if max(len(text), len(packed)) > MAX_BYTES:
            raise ChannelError(f"a message of more than {MAX_BYTES} bytes cannot be sent")
        self._sink.write(_LENGTHS.pack(len(text), len(packed)))
        self._sink.write(text)
        self._sink.write(packed)
        self._sink.flush()

    def receive(self) -> tuple[bytes, Arrays]:
        """Read one frame: its JSON, not yet parsed, and its arrays.

        Raises:
            EOFError: the other end is closed.
            ChannelError: no frame, one that is too large, or arrays that are none.
        """
        head = self._source.read(_LENGTHS.size)
        if not head:
            raise EOFError
        if len(head) < _LENGTHS.size:
            raise ChannelError("a message broke off")
        lengths = _LENGTHS.unpack(head)
        if max(lengths) > MAX_BYTES:
            raise ChannelError(f"a message of more than {MAX_BYTES} bytes was announced")
        text, packed = (self._source.read(length) if length else b"" for length in lengths)
        if (len(text), len(packed)) != lengths:
            raise ChannelError("a message broke off")
        return text, _unpacked(packed) if packed else {}


def _unpacked(packed: bytes) -> Arrays:
    import numpy as np
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = load(packed)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ChannelError(f"arrays that are none ({type(error).__name__})") from None
    if any(array.dtype not in (np.float64, np.int64) for array in arrays.values()):
        raise ChannelError("arrays of a type other than float64 and int64")
    return arrays
