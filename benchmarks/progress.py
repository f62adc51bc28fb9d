"""What a benchmark tells while it runs."""

import sys
import time

_BEGAN = time.monotonic()


def say(line: str) -> None:
    """A line with the minutes and seconds since the start."""
    minutes, seconds = divmod(int(time.monotonic() - _BEGAN), 60)
    sys.stdout.write(f"[{minutes:02}:{seconds:02}] {line}\n")
    sys.stdout.flush()
