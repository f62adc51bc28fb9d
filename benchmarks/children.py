"""Child processes of a benchmark: started on a free port, awaited, and stopped whatever happens."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from crm_local.ports import HOST

ROOT = Path(__file__).parent.parent
_STARTS_WITHIN = 60.0
_STOPS_WITHIN = 15.0
_POLL = 0.05


class ServerFailedError(RuntimeError):
    """A server under measurement did not start."""


@asynccontextmanager
async def child(*arguments: str, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`python -m <arguments>` with standard input and output as pipes; ended with the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, **environment},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), _STOPS_WITHIN)
            except TimeoutError:
                process.kill()
                await process.wait()


@asynccontextmanager
async def server(*arguments: str, port: int, log: Path, environment: Mapping[str, str]) -> AsyncIterator[int]:
    """`python -m <arguments>`, once it is ready to answer at the port; yields its process id."""
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", *arguments, stdout=output, stderr=output, cwd=ROOT, env={**os.environ, **environment}
        )
        try:
            await _ready(process, port, log)
            yield process.pid
        finally:
            if process.returncode is None:
                process.terminate()
                try:
                    await asyncio.wait_for(process.wait(), _STOPS_WITHIN)
                except TimeoutError:
                    process.kill()
                    await process.wait()


async def _ready(process: asyncio.subprocess.Process, port: int, log: Path) -> None:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
        async with asyncio.timeout(_STARTS_WITHIN):
            while not await _answers(session, port):
                if process.returncode is not None:
                    raise ServerFailedError(await asyncio.to_thread(_last_words, log))
                await asyncio.sleep(_POLL)


def _last_words(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]


async def _answers(session: aiohttp.ClientSession, port: int) -> bool:
    try:
        async with session.get(f"http://{HOST}:{port}/readyz") as answer:
            return answer.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False
