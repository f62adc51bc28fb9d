"""A personal block opens in its own event, for its own subject, with its own key, and nowhere else."""

import base64
from dataclasses import dataclass
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from libs.platform.tests.shop import Customer

from crm_events.event import Sealed
from crm_platform.sealing import InstallationKey, SealBrokenError, SealedBlock, SubjectKey

ADA = Customer(name="Ada Lovelace")
KEY = SubjectKey.generate()
BLOCK = KEY.seal(ADA, event=uuid4(), subject=uuid4())
BOX = base64.b64decode(BLOCK.box)


def _flipped(raw: bytes, bit: int) -> bytes:
    return (int.from_bytes(raw) ^ (1 << bit)).to_bytes(len(raw))


def _with_box(box: bytes) -> Sealed:
    return BLOCK.model_copy(update={"box": base64.b64encode(box).decode()})


def test_a_block_opens_with_its_key() -> None:
    assert KEY.open(BLOCK, Customer) == ADA
    assert "Ada" not in BLOCK.model_dump_json()


def test_the_same_block_is_sealed_differently_each_time() -> None:
    assert KEY.seal(ADA, event=BLOCK.event, subject=BLOCK.subject).box != BLOCK.box


@given(bit=st.integers(0, 8 * len(BOX) - 1))
def test_a_box_in_which_a_bit_was_flipped_does_not_open(bit: int) -> None:
    with pytest.raises(SealBrokenError):
        KEY.open(_with_box(_flipped(BOX, bit)), Customer)


@given(member=st.sampled_from(["event", "subject"]), bit=st.integers(0, 127))
def test_a_block_moved_to_another_event_or_subject_does_not_open(member: str, bit: int) -> None:
    moved = UUID(bytes=_flipped(getattr(BLOCK, member).bytes, bit))
    with pytest.raises(SealBrokenError):
        KEY.open(BLOCK.model_copy(update={member: moved}), Customer)


@given(bit=st.integers(0, 255))
def test_a_block_does_not_open_with_another_secret(bit: int) -> None:
    with pytest.raises(SealBrokenError):
        SubjectKey(KEY.id, _flipped(KEY.secret, bit)).open(BLOCK, Customer)


@given(bit=st.integers(0, 127))
def test_a_block_does_not_open_under_another_keys_id(bit: int) -> None:
    with pytest.raises(SealBrokenError):
        SubjectKey(UUID(bytes=_flipped(KEY.id.bytes, bit)), KEY.secret).open(BLOCK, Customer)


@given(length=st.integers(0, len(BOX) - 1))
def test_a_box_cut_short_does_not_open(length: int) -> None:
    with pytest.raises(SealBrokenError):
        KEY.open(_with_box(BOX[:length]), Customer)


@given(box=st.text(max_size=64))
def test_a_box_of_any_text_does_not_open(box: str) -> None:
    with pytest.raises(SealBrokenError):
        KEY.open(BLOCK.model_copy(update={"box": box}), Customer)


@given(place=st.integers(0, len(BLOCK.box)), foreign=st.sampled_from("!\n -_é"))
def test_a_box_with_a_foreign_character_in_it_does_not_open(place: int, foreign: str) -> None:
    spoilt = BLOCK.box[:place] + foreign + BLOCK.box[place:]
    with pytest.raises(SealBrokenError):
        KEY.open(BLOCK.model_copy(update={"box": spoilt}), Customer)


def test_a_wrapped_key_comes_back_whole() -> None:
    installation = InstallationKey(b"i" * 32)
    unwrapped = installation.unwrap(KEY.id, installation.wrap(KEY))
    assert unwrapped.open(BLOCK, Customer) == ADA
    assert KEY.secret not in installation.wrap(KEY)


@dataclass
class Forged:
    key: UUID
    wrapped: bytes
    installation: bytes = b"i" * 32


WRAPPED = InstallationKey(b"i" * 32).wrap(KEY)


@pytest.mark.parametrize(
    "forged",
    [
        Forged(uuid4(), WRAPPED),
        Forged(KEY.id, WRAPPED, b"j" * 32),
        Forged(KEY.id, _flipped(WRAPPED, 3)),
        Forged(KEY.id, WRAPPED[:5]),
    ],
    ids=["another key's id", "another installation", "altered", "cut short"],
)
def test_a_key_unwraps_only_under_its_id_in_its_installation(forged: Forged) -> None:
    with pytest.raises(SealBrokenError):
        InstallationKey(forged.installation).unwrap(forged.key, forged.wrapped)


def test_a_read_model_keeps_a_block_sealed_and_can_give_it_back() -> None:
    kept = SealedBlock.of(BLOCK)
    assert kept is not None
    assert kept.to_event_form() == BLOCK
    assert KEY.open(kept, Customer) == ADA


def test_a_read_model_refuses_an_open_block() -> None:
    with pytest.raises(TypeError, match="Customer is open"):
        SealedBlock.of(ADA)


def test_no_block_stays_no_block() -> None:
    assert SealedBlock.of(None) is None
