"""The sales service's routes, token and parsing and reply included, with nothing stored behind them."""

from crm_platform.command import Command, Order, Receipt
from crm_platform.health import Health
from crm_platform.http.app import create_app
from crm_platform.logging import configure_logging
from crm_platform.server import run, serve
from crm_platform.work import Handler
from crm_sales.api import router
from crm_sales.settings import SalesSettings


class _NothingStored:
    """Says of every command that it is done, and how the store would say it."""

    async def run(self, handler: Handler, command: Command, order: Order) -> Receipt:  # noqa: ARG002 - as the store's
        return Receipt(order.target, 1, ("crm.sales/0@1", f"{order.id}@1"))


def main() -> None:
    settings = SalesSettings()
    configure_logging("sales", "benchmark", settings.log_level)
    health = Health()
    app = create_app("sales", settings, (router,), health)
    app.state.store = _NothingStored()
    run(serve(app, settings.host, settings.port, health=health))


if __name__ == "__main__":
    main()
