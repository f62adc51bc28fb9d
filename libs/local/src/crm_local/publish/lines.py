"""A file, line by line, as bytes: nothing about its encoding or length is taken on trust."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from crm_events.topics import MAX_RECORD_BYTES
from crm_local.publish.refusal import LineRefusedError

_BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True, slots=True)
class Line:
    """A line and where it stood. `number` counts from 1, `end` is the offset in bytes behind it.

    Of a line that is longer than any record may be, `content` holds only the beginning.
    """

    number: int
    content: bytes
    end: int

    @property
    def is_blank(self) -> bool:
        return not self.content.strip()

    def text(self) -> str:
        """The line without its end. Raises LineRefusedError if it is too long or not UTF-8."""
        if len(self.content) > MAX_RECORD_BYTES:
            raise LineRefusedError(f"longer than {MAX_RECORD_BYTES} bytes, which is the most a record may have")
        try:
            text = self.content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise LineRefusedError(f"not UTF-8: byte {error.start + 1} of the line cannot be read") from error
        return text.removeprefix(_BYTE_ORDER_MARK) if self.number == 1 else text


def read_lines(file: BinaryIO) -> Iterator[Line]:
    """The lines that are not blank, in order, each without its line end. Memory stays bounded whatever they hold."""
    number = 0
    while content := file.readline(MAX_RECORD_BYTES + 2):
        number += 1
        _skip_rest_of_line(file, content)
        line = Line(number, content.rstrip(b"\r\n"), file.tell())
        if not line.is_blank:
            yield line


def _skip_rest_of_line(file: BinaryIO, read: bytes) -> None:
    while read and not read.endswith(b"\n"):
        read = file.readline(MAX_RECORD_BYTES)
