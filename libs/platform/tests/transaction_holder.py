"""A process that writes in its owner's transaction and never comes to the commit: it waits to be killed."""

import asyncio
import os
import threading

from crm_platform import mongo
from crm_platform.mongo_transactions import Transactions


async def hold() -> None:
    client = mongo.connect(os.environ["MONGODB_URI"])
    database = mongo.database(client, os.environ["DATABASE"])

    def work(session: mongo.Session) -> None:
        contested = mongo.blocking(database["notes"])
        contested.update_one({"_id": "contested"}, {"$set": {"by": "the dead"}}, session=session)
        mongo.blocking(database["marks"]).insert_one({"_id": "held"})
        threading.Event().wait()

    await Transactions(database, os.environ["OWNER"]).run(work)


if __name__ == "__main__":
    asyncio.run(hold())
