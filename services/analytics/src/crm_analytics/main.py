"""The composition root: what is not constructed here does not exist.

The stream is a process of its own: Faust joins neither the API nor the exact totals.
"""

import sys

from crm_analytics.api import live_router, router
from crm_analytics.live_store import LiveWindows
from crm_analytics.projections import Kpis
from crm_analytics.settings import AnalyticsSettings
from crm_platform.authenticity import Authenticator
from crm_platform.service import Service

NAME = "analytics"


def compose() -> Service:
    settings = AnalyticsSettings()
    windows = _live_windows(settings)
    return Service(
        name=NAME,
        settings=settings,
        projections=(Kpis(),),
        routers=(router, live_router(windows)),
        api_runners=(windows,),
    )


def compose_stream() -> Service:
    """The speed layer; over HTTP it answers only the probes."""
    from crm_analytics.stream import LiveStream  # noqa: PLC0415 - no other role pays for importing Faust

    settings = AnalyticsSettings()
    windows = _live_windows(settings)
    authenticator = Authenticator(settings.installation())
    return Service(
        name=NAME,
        settings=settings,
        api_runners=(windows, LiveStream(settings.kafka_bootstrap, windows, authenticator)),
    )


def main() -> None:
    """Run in the role that the command line names: api, worker, all, or stream."""
    if sys.argv[1:] == ["stream"]:
        compose_stream().main(["api"])
    else:
        compose().main()


def _live_windows(settings: AnalyticsSettings) -> LiveWindows:
    return LiveWindows(settings.mongodb_uri.get_secret_value(), settings.database(NAME))
