"""The entry point: from its first moment on, Ctrl-C ends a command in one line."""

import sys

from crm_local.interruption import EXIT_CODE, say_interrupted


def main() -> None:
    try:
        from crm_local.cli import app  # noqa: PLC0415 - the imports take most of a second, and are guarded too

        app(prog_name="crm")
    except KeyboardInterrupt:
        say_interrupted()
        sys.exit(EXIT_CODE)


if __name__ == "__main__":
    main()
