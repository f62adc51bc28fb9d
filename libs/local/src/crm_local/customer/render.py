"""The single customer view as a person reads it. Pure: a view and a moment in, text out."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from crm_events.event import written
from crm_events.parties import Address
from crm_local.customer.view import Campaign, CustomerView, Lead, Opportunity, Ticket, Touch
from crm_local.customer.words import ago, moment, money, plain

_ARROWS = {"inbound": "←", "outbound": "→"}
_TICKET_REPLY = "ticket_reply"

Row = tuple[bool, Sequence[str]]
"""Whether the thing is still open, and what to say of it, cell by cell."""


def render(view: CustomerView, now: datetime, as_of: datetime | None = None) -> RenderableType:
    """Who the customer is, what is open, what happened, newest first, and how fresh each part of it is.

    `as_of` is the past moment that the view is of; None for the present.
    """
    parts: list[RenderableType] = [_header(view, now, as_of), Text(_totals(view, now))]
    parts += _section("Leads", [_lead(lead, now) for lead in view.leads])
    parts += _section("Opportunities", [_opportunity(deal, now) for deal in view.opportunities])
    parts += _section("Tickets", [_ticket(ticket, now) for ticket in view.tickets])
    parts += _section("Campaigns", [_campaign(campaign, now) for campaign in view.campaigns])
    parts += _timeline(view, now)
    if not view.complete:
        parts.append(Text("Only the newest records are shown; the services list the rest.", "yellow"))
    parts += [Text(), _freshness(view)]
    return Group(*parts)


def _header(view: CustomerView, now: datetime, as_of: datetime | None) -> Panel:
    # By recorded time, which is what the gateway takes where no axis is given.
    lines = [] if as_of is None else [f"as of {written(as_of)}: what was known then"]
    lines += _profile_lines(view)
    if view.registered_at:
        source = f", first from {plain(view.source)}" if view.source else ""
        lines.append(f"known since {moment(view.registered_at)} ({ago(view.registered_at, now)}){source}")
    lines.append(f"id {view.contact_id}")
    return Panel(Text("\n".join(lines)), title=Text(_name(view), "bold"), title_align="left", expand=False)


def _name(view: CustomerView) -> str:
    if view.erased:
        return "Erased: the personal data of this customer was destroyed"
    profile = view.profile
    if profile is None:
        return "Not yet known by name"
    full = " ".join(filter(None, (profile.given_name, profile.family_name)))
    first_identifier = view.identifiers[0].value if view.identifiers else "Without a name"
    return plain(profile.name or full or profile.organisation or first_identifier)


def _profile_lines(view: CustomerView) -> Iterator[str]:
    profile = view.profile
    if profile is None:
        return
    if profile.organisation:
        yield plain(profile.organisation)
    if view.identifiers:
        yield "  ".join(f"{each.kind.value} {plain(each.value)}" for each in view.identifiers)
    if profile.birth_date:
        yield f"born {profile.birth_date}"
    for address in profile.addresses:
        yield plain(_address(address))


def _address(address: Address) -> str:
    town = " ".join(filter(None, (address.postcode, address.city)))
    return ", ".join(filter(None, (*address.lines, town, address.region, address.country)))


def _totals(view: CustomerView, now: datetime) -> str:
    totals = view.totals
    parts = [_count(totals.interactions, "interaction"), _count(totals.orders, "order")]
    parts += [money(amount, currency) for currency, amount in totals.revenue.items()]
    if totals.last_contact_at:
        parts.append(f"last contact {ago(totals.last_contact_at, now)}")
    return " · ".join(parts)


def _lead(lead: Lead, now: datetime) -> Row:
    outcome = " ".join(filter(None, (lead.stage, f"({lead.reason})" if lead.reason else "")))
    score = "" if lead.score is None else f"score {lead.score}"
    message = plain(lead.inquiry.message or "", 60) if lead.inquiry else ""
    return lead.is_open, (outcome, ago(lead.captured_at, now), f"from {plain(lead.source)}", score, message)


def _opportunity(deal: Opportunity, now: datetime) -> Row:
    came_to = deal.stage if deal.is_open else deal.status
    outcome = " ".join(filter(None, (came_to, f"({deal.loss_reason})" if deal.loss_reason else "")))
    when = f"closed {ago(deal.closed_at, now)}" if deal.closed_at else f"opened {ago(deal.opened_at, now)}"
    due = f"expected {deal.expected_close}" if deal.expected_close and deal.is_open else ""
    worth = money(deal.value.amount, deal.value.currency)
    return deal.is_open, (outcome, when, worth, due, plain(deal.title or "", 60))


def _ticket(ticket: Ticket, now: datetime) -> Row:
    when = f"opened {ago(ticket.opened_at, now)}"
    if ticket.resolved_at and not ticket.is_open:
        when = f"resolved {ago(ticket.resolved_at, now)}"
    who = plain(ticket.agent) if ticket.agent else "nobody's"
    replies = "1 reply" if ticket.replies == 1 else f"{ticket.replies} replies"
    subject = plain(ticket.request.subject, 60) if ticket.request else ""
    return ticket.is_open, (ticket.status, when, ticket.priority, f"{who}, {replies}", subject)


def _campaign(campaign: Campaign, now: datetime) -> Row:
    enrolled = f"enrolled {ago(campaign.enrolled_at, now)}" if campaign.enrolled_at else "not enrolled"
    answered = f"last {ago(campaign.engagements[0].occurred_at, now)}" if campaign.engagements else ""
    name = plain(campaign.name or campaign.id)
    return True, (name, enrolled, _count(len(campaign.engagements), "answer"), answered)


def _section(title: str, rows: Sequence[Row]) -> list[RenderableType]:
    """The rows, those that are open first; nothing at all where there are none."""
    if not rows:
        return []
    table = Table(box=None, show_header=False, pad_edge=False)
    for is_open, cells in sorted(rows, key=lambda row: not row[0]):
        table.add_row(*map(Text, ("  ", *cells)), style="" if is_open else "dim")
    return [Text(), Text(title, "bold"), table]


def _timeline(view: CustomerView, now: datetime) -> list[RenderableType]:
    touches = sorted(view.timeline.items, key=lambda touch: touch.occurred_at, reverse=True)
    if not touches:
        return [Text(), Text("Nothing has happened yet.")]
    names = {campaign.id: campaign.name for campaign in view.campaigns}
    table = Table(box=None, show_header=False, pad_edge=False)
    for touch in touches:
        happened = (ago(touch.occurred_at, now), moment(touch.occurred_at), *_what(touch, names))
        table.add_row(*map(Text, ("  ", *happened)))
    older = [Text("   and older: --json names the cursor of the next page", "dim")] if view.timeline.next else []
    return [Text(), Text("Timeline (UTC)", "bold"), table, *older]


def _what(touch: Touch, campaigns: dict[str, str | None]) -> Iterable[str]:
    yield _ARROWS.get(touch.direction, "")
    yield "ticket" if touch.kind == _TICKET_REPLY else plain(touch.channel or "")
    yield " · ".join(_details(touch, campaigns))


def _details(touch: Touch, campaigns: dict[str, str | None]) -> Iterator[str]:
    if touch.order:
        yield money(touch.order.amount, touch.order.currency)
    if touch.content and (words := touch.content.subject or touch.content.body):
        yield plain(words, 80)
    if touch.campaign_id:
        yield f"answers {plain(campaigns.get(touch.campaign_id) or touch.campaign_id)}"


def _freshness(view: CustomerView) -> Text:
    line = Text("Newest fact seen: ", "dim")
    for number, (section, fresh) in enumerate(view.freshness.items()):
        age = "none yet" if fresh.age_seconds is None else f"{_age(fresh.age_seconds)} old"
        separator = ", " if number else ""
        line.append(f"{separator}{section} {age}{' (stale)' if fresh.stale else ''}", "yellow" if fresh.stale else "")
    return line


def _age(seconds: float) -> str:
    for length, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.1f} s"


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
