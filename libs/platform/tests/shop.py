"""A small domain for the tests of the platform: purchases, with their customers sealed and a private count."""

from typing import ClassVar
from uuid import UUID

from crm_events.event import Event, Personal, Sealed, Value
from crm_events.registry import Registry
from crm_platform.aggregate import Aggregate
from crm_platform.command import Command
from crm_platform.errors import NotAllowed
from crm_platform.testing import SOME_TIME
from crm_platform.work import UnitOfWork


class ShopEvent(Event):
    context: ClassVar[str] = "shop"


class Customer(Value):
    name: str


class PurchaseMade(ShopEvent):
    amount: int
    customer_id: UUID | None = None
    customer: Personal[Customer]

    def data_subject(self, stream: UUID) -> UUID:
        return self.customer_id or stream


class PurchaseNoted(ShopEvent):
    text: str


class PurchaseCounted(ShopEvent):
    """Private: the shop's own bookkeeping."""

    public: ClassVar[bool] = False
    count: int


EVENTS = Registry((PurchaseMade, PurchaseNoted, PurchaseCounted))


class Purchase(Aggregate):
    def __init__(self, id: UUID) -> None:  # noqa: A002 - the aggregate's id
        super().__init__(id)
        self.notes: list[str] = []
        self.customer: Sealed | Customer | None = None

    def make(self, amount: int, name: str, customer_id: UUID | None = None) -> None:
        if self.exists:
            raise NotAllowed("It is made already.")
        self.record(
            PurchaseMade(occurred_at=SOME_TIME, amount=amount, customer_id=customer_id, customer=Customer(name=name))
        )

    def note(self, text: str) -> None:
        self.record(PurchaseNoted(occurred_at=SOME_TIME, text=text))

    def count(self, number: int) -> None:
        self.record(PurchaseCounted(occurred_at=SOME_TIME, count=number))

    def apply(self, event: Event) -> None:
        match event:
            case PurchaseMade():
                self.customer = event.customer
            case PurchaseNoted():
                self.notes.append(event.text)


class MakePurchase(Command):
    amount: int = 1
    name: str = "Ada Lovelace"
    customer_id: UUID | None = None


class NotePurchase(Command):
    text: str = "gift"


def make_purchase(command: MakePurchase, work: UnitOfWork) -> Purchase:
    purchase = work.load(Purchase, work.target_id)
    purchase.make(command.amount, command.name, command.customer_id)
    return work.save(purchase)


def note_purchase(command: NotePurchase, work: UnitOfWork) -> Purchase:
    purchase = work.load(Purchase, work.target_id)
    purchase.note(command.text)
    return work.save(purchase)


def count_purchase(command: NotePurchase, work: UnitOfWork) -> Purchase:
    purchase = work.load(Purchase, work.target_id)
    purchase.count(len(command.text))
    return work.save(purchase)
