"""Answers as they are sent. Their shape is declared, and nothing is validated on the way out."""

from typing import Any

import orjson
from fastapi import Response


def encoded(answer: Any) -> Response:
    """The answer as JSON; an instant without a time zone is UTC."""
    return Response(orjson.dumps(answer, option=orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z), media_type="application/json")
