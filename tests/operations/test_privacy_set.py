from uuid import UUID

from echo_ws.client import Client
from echo_ws_protocol.commands import (
    ConversationGet,
    DeliveryAck,
    MessageRead,
    MessageSend,
    PrivacyGet,
    PrivacySet,
    SessionResume,
    TypingSet,
)
from echo_ws_protocol.events import Receipt, Settings, Typing
from echo_ws_protocol.ids import uuid7
from echo_ws_protocol.replies import Participant, Privacy
from tests.support.other_service import Sql
from tests.support.waiting import heard
from tests.support.world import World


async def test_what_is_left_out_stays_and_ones_devices_hear_it(alice: Client, people: World) -> None:
    elsewhere = await people.device(alice.user, await people.worker())

    await alice.call(PrivacySet(show_last_seen="contacts", allow_group_invites="nobody"))
    await alice.call(PrivacySet(show_last_seen="nobody"))

    now = await alice.call(PrivacyGet())
    assert Privacy("nobody", "everyone", "everyone", True, True, "nobody") == now
    told = await elsewhere.next(Settings, where=lambda settings: settings.show_last_seen == "nobody")
    assert ("nobody", True) == (told.allow_group_invites, told.show_typing_indicator)


async def test_repeating_it_takes_no_rev(alice: Client, db: Sql) -> None:
    await alice.call(PrivacySet(show_status="nobody"))
    rev = await db.fetchval("SELECT last_rev FROM users.heads WHERE user_id = $1", alice.user)

    await alice.call(PrivacySet(show_status="nobody"))

    assert rev == await db.fetchval("SELECT last_rev FROM users.heads WHERE user_id = $1", alice.user)


async def test_one_without_settings_has_the_defaults_and_can_change_them(alice: Client, db: Sql) -> None:
    await db.execute("DELETE FROM users.privacy_settings WHERE user_id = $1", alice.user)
    assert "everyone" == (await alice.call(PrivacyGet())).show_status

    await alice.call(PrivacySet(show_status="contacts"))

    assert "contacts" == (await alice.call(PrivacyGet())).show_status


async def said(person: Client, conversation: UUID) -> None:
    await person.call(MessageSend(conversation=conversation, message=uuid7(), content="hi"))


async def seen_by(viewer: Client, conversation: UUID, other: UUID) -> list[tuple[int, int]]:
    """Return the watermarks of somebody, by each way to read them."""
    details = await viewer.call(ConversationGet(conversation=conversation))
    resumed = await viewer.call(SessionResume(epoch=viewer.hello.epoch, since=viewer.position.time))
    marks: list[Participant | Receipt] = [*details.participants, *resumed.receipts]
    return [(mark.delivered_seq, mark.read_seq) for mark in marks if mark.user == other]


async def test_who_shows_no_receipts_is_seen_to_receive_and_not_to_read(
    direct: UUID, alice: Client, bob: Client
) -> None:
    await bob.call(PrivacySet(show_read_receipts=False))
    await said(alice, direct)

    await bob.call(DeliveryAck(conversation=direct, seq=1))
    await bob.call(MessageRead(conversation=direct, seq=1))

    assert [(1, 0), (1, 0)] == await seen_by(alice, direct, bob.user)
    assert [(1, 1), (1, 1)] == await seen_by(bob, direct, bob.user)
    told = [await alice.next(Receipt), *await heard(alice, Receipt)]
    assert [(1, 0)] == [(receipt.delivered_seq, receipt.read_seq) for receipt in told]


async def test_who_shows_no_receipts_sees_none(direct: UUID, alice: Client, bob: Client) -> None:
    await alice.call(PrivacySet(show_read_receipts=False))
    await said(alice, direct)

    await bob.call(MessageRead(conversation=direct, seq=1))

    assert [(1, 0), (1, 0)] == await seen_by(alice, direct, bob.user)
    assert (1, 0) == ((receipt := await alice.next(Receipt)).delivered_seq, receipt.read_seq)


async def test_typing_is_shown_by_those_who_want_to_see_it(direct: UUID, alice: Client, bob: Client) -> None:
    await alice.call(PrivacySet(show_typing_indicator=False))
    await bob.call(TypingSet(conversation=direct, kind="stopped"))
    await alice.call(PrivacySet(show_typing_indicator=True))
    await bob.call(TypingSet(conversation=direct, kind="voice"))

    assert "voice" == (await alice.next(Typing)).kind
