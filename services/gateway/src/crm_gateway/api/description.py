"""GET /openapi.json: what can be asked of the platform."""

import orjson
from fastapi import APIRouter, Request, Response

from crm_gateway.openapi import PlatformDescription


def description_routes(description: PlatformDescription) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/openapi.json")
    async def openapi(request: Request) -> Response:
        document = await description.document(request.app.openapi)
        return Response(orjson.dumps(document), media_type="application/json")

    return router
