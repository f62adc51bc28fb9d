"""The routes of the service desk; what they mean stands in the commands and the queries."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends

from crm_events.service import Priority
from crm_platform.auth import STAFF, Role
from crm_platform.http.commands import CommandSender, Written, command_sender, names_one
from crm_platform.http.etags import Answer
from crm_platform.http.reads import Page, Paging, read_model
from crm_platform.read_model import ReadModel
from crm_service.application import assign_ticket, open_ticket, reopen_ticket, reply_to_ticket, resolve_ticket
from crm_service.commands import AssignTicket, OpenTicket, ReopenTicket, ReplyToTicket, ResolveTicket
from crm_service.domain import TicketStatus
from crm_service.projections import Tickets
from crm_service.queries import ReplyView, TicketView, newest_replies, newest_tickets, the_ticket

router = APIRouter()
one_ticket = APIRouter(prefix="/tickets/{id}", dependencies=[Depends(names_one)])

ServiceCommand = Annotated[CommandSender, Depends(command_sender(Role.SERVICE))]
TicketsRead = Annotated[ReadModel, Depends(read_model(Tickets, *STAFF))]


@router.post("/tickets", status_code=201)
async def open_(command: OpenTicket, send: ServiceCommand) -> Written:
    return await send(open_ticket, command)


@one_ticket.post("/assign")
async def assign(command: AssignTicket, send: ServiceCommand) -> Written:
    return await send(assign_ticket, command)


@one_ticket.post("/reply")
async def reply(command: ReplyToTicket, send: ServiceCommand) -> Written:
    return await send(reply_to_ticket, command)


@one_ticket.post("/resolve")
async def resolve(command: ResolveTicket, send: ServiceCommand) -> Written:
    return await send(resolve_ticket, command)


@one_ticket.post("/reopen")
async def reopen(command: ReopenTicket, send: ServiceCommand) -> Written:
    return await send(reopen_ticket, command)


@router.get("/tickets")
async def tickets(
    tickets: TicketsRead,
    paging: Paging,
    status: TicketStatus | None = None,
    priority: Priority | None = None,
    agent: str | None = None,
) -> Page[TicketView]:
    return await newest_tickets(tickets, paging, status=status, priority=priority, agent=agent)


@one_ticket.get("")
async def ticket(
    id: UUID,  # noqa: A002 - the path names it
    tickets: TicketsRead,
    answer: Answer,
) -> TicketView:
    return answer(await the_ticket(tickets, id))


@one_ticket.get("/replies")
async def replies(id: UUID, tickets: TicketsRead, paging: Paging) -> Page[ReplyView]:  # noqa: A002 - as above
    return await newest_replies(tickets, paging, id)


router.include_router(one_ticket)
