"""Personal blocks in the clear, at the edge."""

from collections.abc import Iterable

import orjson

from crm_gateway.view import OpenedBlocks
from crm_platform.read_model import ReadModel
from crm_platform.sealing import SealedBlock


async def opened(customers: ReadModel, blocks: Iterable[SealedBlock]) -> OpenedBlocks:
    """The blocks in the clear, with one look-up of keys."""
    sealed: list[SealedBlock | None] = list(blocks)
    found = await customers.open_all_json(sealed)
    return OpenedBlocks(
        {block.event: orjson.loads(json) for block, json in zip(sealed, found, strict=True) if block and json}
    )
