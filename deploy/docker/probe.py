"""Asks the service of this container for a probe: `python probe.py /livez`. Exits with 0 if it answers 200, else 1."""  # noqa: INP001 - a program, not a package

import os
import sys
from http.client import HTTPConnection, HTTPException


def main(path: str) -> int:
    connection = HTTPConnection("127.0.0.1", int(os.environ.get("CRM_PORT", "8000")), timeout=4)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        told = answer.read().decode(errors="replace")
    except (OSError, HTTPException) as error:
        sys.stdout.write(f"no answer: {error}\n")
        return 1
    sys.stdout.write(told + "\n")
    return 0 if answer.status == 200 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
