"""An erasure takes a person out of the platform, and changes no count, no sum and no key figure (docs/adr/0020)."""

import msgspec
from hypothesis import given
from tests.erasure.affairs import identifiers_of
from tests.erasure.histories import ErasedCustomer, erased_customers
from tests.erasure.read_models import ReadModels

from crm_contacts.projections import ContactRow, ErasureRow
from crm_events.contacts import ContactRegistered, ContactUpdated
from crm_gateway.answers import CustomerView, TimelineItem
from crm_gateway.projections.profile import CustomerProfile
from crm_platform.projection import Document


@given(erased_customers())
def test_every_figure_is_what_it_would_be_had_nobody_been_erased(story: ErasedCustomer) -> None:
    assert ReadModels(story.erased).figures() == ReadModels(story.untouched).figures()


@given(erased_customers())
async def test_every_other_customer_is_seen_as_before(story: ErasedCustomer) -> None:
    erased, untouched = ReadModels(story.erased), ReadModels(story.untouched)
    for customer in set(story.everybody) - {story.customer}:
        assert await erased.view(customer) == await untouched.view(customer)


@given(erased_customers())
async def test_the_erased_customer_still_adds_up_to_the_same(story: ErasedCustomer) -> None:
    erased = await ReadModels(story.erased).view(story.customer)
    untouched = await ReadModels(story.untouched).view(story.customer)
    assert erased["totals"] == untouched["totals"]
    assert erased["campaigns"] == untouched["campaigns"]
    assert touches(erased) == touches(untouched)


@given(erased_customers())
def test_nothing_changes_but_the_erased_contact_and_the_answers_that_come_after(story: ErasedCustomer) -> None:
    erased, untouched = ReadModels(story.erased).all(), ReadModels(story.untouched).all()
    differing = {where for where in erased.keys() | untouched.keys() if erased.get(where) != untouched.get(where)}
    told_otherwise = {str(event.subject) for event in story.erased if event not in story.untouched}
    assert {target.id for _, target in differing} <= told_otherwise
    hers = {target.document for _, target in differing if target.id == str(story.customer)}
    assert hers == {ContactRow, CustomerProfile, ErasureRow}


@given(erased_customers())
def test_no_document_holds_an_identifier_that_the_erased_contact_ever_had(story: ErasedCustomer) -> None:
    ever = [str(identifier.index) for identifier in identifiers_of(story.customer)]
    known = [event.data for event in story.untouched if event.subject == story.customer]
    last = known[-1]
    assert isinstance(last, ContactRegistered | ContactUpdated)
    found = holding(ReadModels(story.untouched), ever)
    assert found == ({ContactRow, CustomerProfile} if last.identifiers else set()), "the search finds what is there"

    assert holding(ReadModels(story.erased), ever) == set()


def touches(view: CustomerView) -> list[TimelineItem]:
    return [item for item in view["timeline"]["items"] if item["kind"] == "interaction"]


def holding(models: ReadModels, words: list[str]) -> set[type[Document]]:
    """The kinds of documents in which one of the words stands, wherever in them."""
    return {
        target.document
        for (_, target), document in models.all().items()
        if any(word in msgspec.json.encode(document).decode() for word in words)
    }
