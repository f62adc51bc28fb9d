"""The routes of analytics: the exact totals, and the live windows."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends

from crm_analytics.live_store import LiveWindows
from crm_analytics.projections import Kpis
from crm_analytics.queries import KpiView, LiveView, current_kpis, last_minutes
from crm_platform.auth import STAFF, require
from crm_platform.http.reads import read_model
from crm_platform.read_model import ReadModel

router = APIRouter()

KpisRead = Annotated[ReadModel, Depends(read_model(Kpis, *STAFF))]


@router.get("/kpis")
async def kpis(totals: KpisRead) -> KpiView:
    """The exact totals, at the positions that `freshness` names."""
    return await current_kpis(totals)


def live_router(windows: LiveWindows) -> APIRouter:
    """The route of the speed layer, which keeps its windows apart from the read models."""
    router = APIRouter()

    @router.get("/kpis/live", dependencies=[Depends(require(*STAFF))])
    async def live_kpis() -> LiveView:
        """The last 15 minutes, minute by minute, by when events were published: quick, and not the record."""
        return await last_minutes(windows, datetime.now(UTC))

    return router
