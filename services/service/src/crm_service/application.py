"""One function per command: load, call the aggregate, save. What one function saves commits together."""

from crm_events.contacts import party_stream
from crm_events.parties import Note
from crm_events.service import Reply, TicketRequest
from crm_platform.identifiers import must_identify
from crm_platform.work import UnitOfWork
from crm_service.commands import AssignTicket, OpenTicket, ReopenTicket, ReplyToTicket, ResolveTicket
from crm_service.domain import Ticket


def open_ticket(command: OpenTicket, work: UnitOfWork) -> Ticket:
    must_identify(command.party)
    ticket = work.load(Ticket, work.target_id)
    request = TicketRequest(party=command.party, subject=command.subject, body=command.body)
    ticket.open(request, command.channel, command.priority, work.moment(command.occurred_at))
    work.await_answer(party_stream(ticket.id))
    return work.save(ticket)


def assign_ticket(command: AssignTicket, work: UnitOfWork) -> Ticket:
    ticket = work.target(Ticket)
    ticket.assign(command.agent, work.now)
    return work.save(ticket)


def reply_to_ticket(command: ReplyToTicket, work: UnitOfWork) -> Ticket:
    ticket = work.target(Ticket)
    ticket.reply(Reply(body=command.body), command.author, work.now)
    return work.save(ticket)


def resolve_ticket(command: ResolveTicket, work: UnitOfWork) -> Ticket:
    ticket = work.target(Ticket)
    ticket.resolve(Note.of(command.note), work.now)
    return work.save(ticket)


def reopen_ticket(command: ReopenTicket, work: UnitOfWork) -> Ticket:
    ticket = work.target(Ticket)
    ticket.reopen(Note.of(command.note), work.now)
    return work.save(ticket)
