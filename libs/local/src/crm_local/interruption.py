"""What a command answers to Ctrl-C. Imports nothing of weight: it is needed before anything else is there."""

import sys

EXIT_CODE = 130
"""What a shell reports of a program that SIGINT ended."""


def say_interrupted() -> None:
    print("Interrupted.", file=sys.stderr)
