"""What a team writes in an afternoon: FastAPI and Motor, one document in, one document out."""

from datetime import UTC, datetime
from typing import Any

from fastapi import FastAPI
from motor.motor_asyncio import AsyncIOMotorClient
from pydantic import BaseModel, Field

from crm_platform.health import Health
from crm_platform.server import run, serve
from crm_sales.settings import SalesSettings

DATABASE = "bench_plain"


class Party(BaseModel):
    email: str | None = None
    phone: str | None = None
    name: str | None = None


class Lead(BaseModel):
    party: Party
    source: str = Field(min_length=1, max_length=100)
    message: str | None = None
    occurred_at: datetime | None = None


def create_app(mongodb_uri: str) -> FastAPI:
    """`POST /leads` stores what it was sent; `GET /customers/{id}` returns the document with that id."""
    app = FastAPI()
    database = AsyncIOMotorClient[dict[str, Any]](mongodb_uri)[DATABASE]

    @app.get("/readyz")
    async def ready() -> dict[str, str]:
        return {"status": "ready"}

    @app.post("/leads", status_code=201)
    async def create(lead: Lead) -> dict[str, str]:
        document = {**lead.model_dump(), "stage": "new", "captured_at": datetime.now(UTC)}
        stored = await database.leads.insert_one(document)
        return {"id": str(stored.inserted_id)}

    @app.get("/customers/{id}")
    async def customer(id: str) -> dict[str, Any] | None:  # noqa: A002 - the path names it
        return await database.customers.find_one({"_id": id})

    return app


async def _main(settings: SalesSettings) -> None:
    app = create_app(settings.mongodb_uri.get_secret_value())
    await serve(app, settings.host, settings.port, health=Health())


def main() -> None:
    run(_main(SalesSettings()))


if __name__ == "__main__":
    main()
