"""Looking for bytes in all files of a folder, past whatever wrote them."""

import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.erasure.words import forms

CHUNK = 16 * 1024 * 1024


def files_with(folder: Path, *words: str | bytes) -> set[str]:
    """The files, by their paths in the folder, in which one of the words stands in any form."""
    wanted = {form for word in words for form in forms(word)}
    return {str(file.relative_to(folder)) for file in _files(folder) if _holds(file, wanted)}


def words_in(folder: Path, words: Iterable[str]) -> set[str]:
    """Those of the words that stand somewhere in the folder, whole and in the clear."""
    plain = {word: word.encode() for word in words}
    longest = max(map(len, plain.values()))
    parts = (part for file in _files(folder) for part in _parts(file, longest))
    return {word for part in parts for word, wanted in plain.items() if wanted in part}


def _files(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        yield from (Path(parent) / name for name in names)


def _holds(file: Path, wanted: Iterable[bytes]) -> bool:
    return any(form in part for part in _parts(file, max(map(len, wanted))) for form in wanted)


def _parts(file: Path, longest: int) -> Iterator[bytes]:
    """All that the file holds, in parts that overlap by as much as a word may be cut; its holes are left out."""
    try:
        handle = os.open(file, os.O_RDONLY)
    except FileNotFoundError:
        return  # its server has deleted it since the folder was listed
    try:
        for begin, end in _extents(handle):
            for offset in range(begin, end, CHUNK):
                yield os.pread(handle, min(CHUNK + longest - 1, end - offset), offset)
    finally:
        os.close(handle)


def _extents(handle: int) -> Iterator[tuple[int, int]]:
    """Where the file holds data: servers reserve files much larger than what they have written."""
    end = 0
    while True:
        try:
            begin = os.lseek(handle, end, os.SEEK_DATA)
        except OSError as beyond:
            if beyond.errno == errno.ENXIO:
                return
            raise
        end = os.lseek(handle, begin, os.SEEK_HOLE)
        yield begin, end
