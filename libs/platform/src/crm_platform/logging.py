"""Logging: one JSON object a line on standard output, from our own code and from the libraries beneath alike.

Never logged: bodies, query strings, header values, and the messages of foreign exceptions, which may repeat any of
them. An exception is named by its type and the places it passed through.
"""

import logging
import sys
import traceback
from typing import Any

import orjson
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from crm_platform import tracing
from crm_platform.errors import Refusal

_FRAMES = 12
# Their messages are the platform's own sentences, or name files and addresses only.
_TELLING = (Refusal, OSError)


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger whose lines carry `component: name`."""
    logger: FilteringBoundLogger = structlog.get_logger(component=name)
    return logger


def configure_logging(service: str, version: str, level: str = "info") -> None:
    """Send every log line of the process to standard output as JSON. Called once, by the composition root."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        _Origin(service, version),
        _name_the_trace,
        _describe_error,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer(serializer=_to_json)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.BytesLoggerFactory(sys.stdout.buffer),
        cache_logger_on_first_use=True,
    )
    _route_stdlib(shared, level)


def _route_stdlib(shared: list[Processor], level: str) -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(serializer=_to_json_text),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "aiokafka", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    logging.captureWarnings(True)


class _Origin:
    """Says which service and which release of it speaks."""

    def __init__(self, service: str, version: str) -> None:
        self._origin = {"service": service, "version": version}

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> EventDict:
        event.update(self._origin)
        return event


def _name_the_trace(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """`trace_id` and `span_id` of the span that the line was written in, where there is one."""
    event.update(tracing.current_ids())
    return event


def _describe_error(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    error = _exception(event.pop("exc_info", None))
    if error is None:
        return event
    event["err.type"] = _type_name(error)
    if isinstance(error, _TELLING):
        event["err.message"] = str(error)
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    event["err.frames"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    cause = error.__cause__ or error.__context__
    if cause is not None:
        event["err.cause"] = _type_name(cause)
    return event


def _exception(value: object) -> BaseException | None:
    match value:
        case BaseException():
            return value
        case (_, BaseException() as error, _):
            return error
        case True:
            return sys.exc_info()[1]
    return None


def _type_name(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _to_json(event: Any, **_: Any) -> bytes:
    return orjson.dumps(event, default=str)


def _to_json_text(event: Any, **_: Any) -> str:
    return orjson.dumps(event, default=str).decode()
