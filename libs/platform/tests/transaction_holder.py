"""A process that writes in its owner's transaction and never comes to the commit: it waits to be killed."""

import asyncio
import os

from crm_platform import mongo
from crm_platform.mongo_transactions import Transactions


async def hold() -> None:
    client = mongo.connect(os.environ["MONGODB_URI"])
    database = mongo.database(client, os.environ["DATABASE"])

    async def work(session: mongo.Session) -> None:
        await database["notes"].update_one({"_id": "contested"}, {"$set": {"by": "the dead"}}, session=session)
        await database["marks"].insert_one({"_id": "held"})
        await asyncio.Event().wait()

    await Transactions(database, os.environ["OWNER"]).run(work)


if __name__ == "__main__":
    asyncio.run(hold())
