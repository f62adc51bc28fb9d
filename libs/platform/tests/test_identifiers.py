"""Identifiers are compared in one form, and hidden behind an index that only the pepper can make."""

import pytest
from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email
from hypothesis import given
from hypothesis import strategies as st

from crm_events.parties import Identifier, IdentifierKind
from crm_platform.identifiers import BlindIndexer, NotAnIdentifier, normalise


def _normal(kind: IdentifierKind, value: str, region: str | None = None) -> str:
    return normalise(Identifier(kind=kind, value=value), region).value


@pytest.mark.parametrize(
    ("kind", "written", "compared"),
    [
        (IdentifierKind.EMAIL, "Ada@Example.COM", "ada@example.com"),
        (IdentifierKind.HANDLE, "@AdaL", "adal"),
        (IdentifierKind.HANDLE, "AdaL", "adal"),
        (IdentifierKind.PHONE, "+49 30 1234567", "+49301234567"),
        (IdentifierKind.PHONE, "0049 30 1234567", "+49301234567"),
        (IdentifierKind.COOKIE, "aBc", "aBc"),
        (IdentifierKind.REFERENCE, "Shop-7", "Shop-7"),
    ],
)
def test_an_identifier_is_compared_in_one_form(kind: IdentifierKind, written: str, compared: str) -> None:
    assert _normal(kind, written) == compared
    assert _normal(kind, compared) == compared


def test_a_phone_number_without_country_is_read_in_the_region_or_kept_as_digits() -> None:
    assert _normal(IdentifierKind.PHONE, "030 1234567", "DE") == "+49301234567"
    assert _normal(IdentifierKind.PHONE, "030 123-4567") == "0301234567"


@pytest.mark.parametrize(
    ("kind", "written"), [(IdentifierKind.EMAIL, "ada.example.com"), (IdentifierKind.PHONE, "12-34")]
)
def test_what_identifies_nobody_is_refused_without_repeating_it(kind: IdentifierKind, written: str) -> None:
    with pytest.raises(NotAnIdentifier) as refused:
        _normal(kind, written)
    assert written not in str(refused.value)


def test_an_index_follows_from_kind_value_and_pepper() -> None:
    mail, handle = (Identifier(kind=k, value="ada") for k in (IdentifierKind.COOKIE, IdentifierKind.HANDLE))
    indexer = BlindIndexer(b"pepper")
    assert indexer.index(mail) == BlindIndexer(b"pepper").index(mail)
    assert len({indexer.index(mail), indexer.index(handle), BlindIndexer(b"salt").index(mail)}) == 3
    assert [i.index for i in indexer.index_all((mail, handle))] == [indexer.index(mail), indexer.index(handle)]


WORDS = st.from_regex(r"[A-Za-z0-9+_-]{1,12}", fullmatch=True)
LABELS = st.from_regex(r"-?[A-Za-z0-9]{1,5}(--?[A-Za-z0-9]{1,5})?-?", fullmatch=True)
TOPS = st.one_of(st.from_regex(r"[A-Za-z]{1,4}", fullmatch=True), st.sampled_from(SPECIAL_USE_DOMAIN_NAMES))


@given(st.lists(WORDS, min_size=1, max_size=4), st.lists(LABELS, max_size=3), TOPS)
def test_a_common_address_is_read_as_the_library_reads_every_address(
    words: list[str], labels: list[str], top: str
) -> None:
    address = f"{'.'.join(words)}@{'.'.join([*labels, top])}"
    try:
        expected = validate_email(address, check_deliverability=False, globally_deliverable=False).normalized.lower()
    except EmailNotValidError:
        with pytest.raises(NotAnIdentifier):
            _normal(IdentifierKind.EMAIL, address)
    else:
        assert _normal(IdentifierKind.EMAIL, address) == expected
