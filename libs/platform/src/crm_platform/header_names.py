"""Reading records whose headers have names that are not UTF-8.

Whoever may write to a topic can send such a record, and aiokafka 0.14 raises UnicodeDecodeError for it on every fetch,
for ever: the one record would stop every reader of its partition, and every part of the process with it. Here such
names are read with their bytes escaped, and what is wrong with the record is for its reader to say.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatch, _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy


class _EscapingBytes(bytearray):
    """Its slices decode whatever they hold."""

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        return _EscapingBytes(found) if isinstance(index, slice) else found

    def decode(self, encoding: str = "utf-8", errors: str = "backslashreplace") -> str:
        return super().decode(encoding, errors)


class _EscapingBatch(_DefaultRecordBatchPy):  # type: ignore[misc] # final, and its `__iter__` is the one place
    """The library's own reading in Python, which decodes nothing but the names of headers."""

    _buffer: bytearray

    def __iter__(self) -> "_EscapingBatch":
        super().__iter__()
        self._buffer = _EscapingBytes(self._buffer)
        return self


class _Batch:
    """Read as fast as ever up to the first name that is not UTF-8, and from there on slowly."""

    def __init__(self, batch: Any, data: memoryview) -> None:
        self._batch = batch
        self._data = data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        records, read = iter(self._batch), 0
        while True:
            try:
                record = next(records)
            except StopIteration:
                return
            except UnicodeDecodeError:
                break
            read += 1
            yield record
        yield from islice(_EscapingBatch(self._data), read, None)


class _Records(_MemoryRecordsPy):  # type: ignore[misc] # as above
    """What a fetch has brought of one partition."""

    def next_batch(self) -> Any:
        data = self._next_slice
        batch = super().next_batch()
        return _Batch(batch, data) if isinstance(batch, DefaultRecordBatch) and data is not None else batch


def read_any_header_name() -> None:
    """From now on every consumer of this process does."""
    fetcher.MemoryRecords = _Records
