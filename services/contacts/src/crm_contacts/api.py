"""The routes of contacts; what they mean stands in the commands and the queries."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends

from crm_contacts.application import ContactsApplication
from crm_contacts.commands import RegisterContact, UpdateContact
from crm_contacts.projections import Contacts
from crm_contacts.queries import ContactView, all_contacts, contact
from crm_platform.auth import STAFF, Role
from crm_platform.http.commands import CommandSender, Written, command_sender
from crm_platform.http.etags import Answer
from crm_platform.http.reads import Page, Paging, read_model
from crm_platform.read_model import ReadModel

WRITERS = (Role.SALES, Role.SERVICE, Role.MARKETING)
"""Everybody who talks to customers keeps their contacts."""

RegisterSender = Annotated[CommandSender, Depends(command_sender(*WRITERS))]
UpdateSender = Annotated[CommandSender, Depends(command_sender(*WRITERS, if_match_required=True))]
ContactsRead = Annotated[ReadModel, Depends(read_model(Contacts, *STAFF))]


def routes(application: ContactsApplication) -> APIRouter:
    """The routes over an application."""
    router = APIRouter()

    @router.post("/contacts", status_code=201)
    async def register(command: RegisterContact, send: RegisterSender) -> Written:
        return await send(application.register, command)

    @router.patch("/contacts/{id}")
    async def update(
        id: UUID,  # noqa: A002, ARG001 - the path names it, the sender of commands reads it
        command: UpdateContact,
        send: UpdateSender,
    ) -> Written:
        return await send(application.update, command)

    @router.get("/contacts")
    async def list_contacts(contacts: ContactsRead, paging: Paging) -> Page[ContactView]:
        return await all_contacts(contacts, paging)

    @router.get("/contacts/{id}")
    async def one_contact(
        id: UUID,  # noqa: A002 - the path names it
        contacts: ContactsRead,
        answer: Answer,
    ) -> ContactView:
        return answer(await contact(contacts, id))

    return router
