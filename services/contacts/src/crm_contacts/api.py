"""The routes of contacts; what they mean stands in the commands and the queries."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends

from crm_contacts.application import ContactsApplication
from crm_contacts.commands import EraseContact, RegisterContact, UpdateContact, WithdrawErasure
from crm_contacts.erasure_queries import ErasureView, all_erasures, erasure
from crm_contacts.projections import Contacts
from crm_contacts.queries import ContactView, all_contacts, contact
from crm_platform.auth import STAFF, Role
from crm_platform.http.commands import CommandGuard, CommandSender, Written, command_sender, names_one
from crm_platform.http.etags import Answer
from crm_platform.http.reads import Page, Paging, ReadGuard, read_model
from crm_platform.read_model import ReadModel

WRITERS = (Role.SALES, Role.SERVICE, Role.MARKETING)
"""Everybody who talks to customers keeps their contacts."""

ASKED = EraseContact()
"""What a request without a body says."""

RegisterSender = Annotated[CommandSender, Depends(command_sender(*WRITERS))]
UpdateSender = Annotated[CommandSender, Depends(command_sender(*WRITERS, if_match_required=True))]
ContactsRead = Annotated[ReadModel, Depends(read_model(Contacts, *STAFF))]
ErasureSender = Annotated[CommandSender, Depends(CommandGuard((Role.PRIVACY,), admin=False))]
ErasuresRead = Annotated[ReadModel, Depends(ReadGuard(Contacts, (Role.PRIVACY,), admin=False))]


def routes(application: ContactsApplication) -> APIRouter:
    """The routes over an application."""
    router = APIRouter()
    one_contact_erasure = APIRouter(prefix="/contacts/{id}", dependencies=[Depends(names_one)])

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

    @one_contact_erasure.post("/erase", status_code=202)
    async def erase(send: ErasureSender, command: EraseContact = ASKED) -> Written:
        """Ask for the erasure of a person's data, or, as the second person, confirm it: that cannot be taken back."""
        return await send(application.erase, command)

    @one_contact_erasure.post("/erasure/withdraw")
    async def withdraw(send: ErasureSender) -> Written:
        """Take back a request that nobody has confirmed yet, one's own or somebody else's."""
        return await send(application.withdraw_erasure, WithdrawErasure())

    @router.get("/contacts/{id}/erasure")
    async def one_erasure(
        id: UUID,  # noqa: A002 - the path names it
        contacts: ErasuresRead,
    ) -> ErasureView:
        """How far the erasure is; once completed, the proof of it."""
        return await erasure(contacts, id)

    @router.get("/erasures")
    async def list_erasures(contacts: ErasuresRead, paging: Paging) -> Page[ErasureView]:
        return await all_erasures(contacts, paging)

    router.include_router(one_contact_erasure)
    return router
