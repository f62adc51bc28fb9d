"""What people at the service desk want done. Bodies of requests are parsed straight into these."""

from typing import Annotated

from pydantic import StringConstraints

from crm_events.adapter import Channel
from crm_events.event import Instant
from crm_events.parties import LongText, Party, ShortText
from crm_events.service import Priority, ReplyAuthor
from crm_platform.command import Command

Agent = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


class OpenTicket(Command):
    """`occurred_at` is for requests that are told late."""

    party: Party
    channel: Channel
    priority: Priority = Priority.NORMAL
    subject: ShortText
    body: LongText | None = None
    occurred_at: Instant | None = None


class AssignTicket(Command):
    """`agent` is the member of staff's user id."""

    agent: Agent


class ReplyToTicket(Command):
    body: LongText
    author: ReplyAuthor = ReplyAuthor.AGENT


class ResolveTicket(Command):
    note: LongText | None = None


class ReopenTicket(Command):
    note: LongText | None = None
