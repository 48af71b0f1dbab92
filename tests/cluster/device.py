"""A device that knows nothing but what it was told and what it has read, and what it shows of that."""

import asyncio
from typing import Any, NamedTuple
from uuid import UUID

from msgspec.structs import replace

from echo_ws.client import Client, CommandFailed, Position, Reset
from echo_ws_protocol.commands import (
    ContactList,
    ConversationGet,
    ConversationList,
    MessageHistory,
    PrivacyGet,
    ProfileGet,
    ThreadList,
)
from echo_ws_protocol.events import (
    Behind,
    Contact,
    Conversation,
    Event,
    Hidden,
    Member,
    Membership,
    Message,
    OwnChange,
    Presence,
    Receipt,
    Settings,
    Thread,
    Typing,
)
from echo_ws_protocol.replies import Mine, Reply

PAGE = 7  # so that most of what is read takes several


class Shown(NamedTuple):
    """What one user can see, by conversation where it belongs to one. Numbers of changes are 0, but for messages."""

    conversations: dict[UUID, Conversation]
    memberships: dict[UUID, Membership]
    members: dict[UUID, dict[UUID, Member]]
    """Without a channel's readers: nobody is told of them."""
    messages: dict[UUID, dict[int, Message]]
    follows: dict[UUID, set[UUID]]
    contacts: dict[UUID, Contact]
    settings: Settings
    unread: dict[UUID, int]


class Wire(Client):
    """Keeps all that comes, before the client has sorted it."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.came: list[Event] = []

    def _decode(self, frame: bytes) -> Reply | Event | None:
        decoded = super()._decode(frame)
        if isinstance(decoded, Event):
            self.came.append(decoded)
        return decoded


class Device:
    def __init__(self, user: UUID, url: str, token: str, codec: Any = "json", position: Position | None = None) -> None:
        self.user = user
        self.client = Wire(url, token=token, codec=codec, position=position)
        self.mine: dict[UUID, Mine] = {}
        """Own reactions and votes, as far as they were read."""
        self.counted: dict[UUID, int] = {}
        """What was unread, as the server had it when the conversation was read."""
        self.marks: dict[UUID, dict[UUID, tuple[int, int]]] = {}
        """How far each one has received and read, of those of whom that was told."""
        self.typing: list[Typing] = []
        self.presences: dict[UUID, Presence] = {}
        self._conversations: dict[UUID, Conversation] = {}
        self._memberships: dict[UUID, Membership] = {}
        self._members: dict[UUID, dict[UUID, Member]] = {}
        self._messages: dict[UUID, dict[int, Message]] = {}
        self._follows: dict[UUID, set[UUID]] = {}
        self._contacts: dict[UUID, Contact] = {}
        self._settings = Settings(rev=0)
        self._hidden: set[UUID] = set()
        self._heard: set[tuple[UUID, object, int]] = set()
        self._life: asyncio.Task[None]
        self._token, self._codec = token, codec

    async def switch_on(self) -> None:
        """Read all there is, and follow what happens from then on."""
        await self.client.__aenter__()
        await self._read_all()
        self._life = asyncio.create_task(self._live())

    async def switch_off(self) -> None:
        """End as a program does: what it shows and how far it is are kept."""
        self._life.cancel()
        await asyncio.wait([self._life])
        await self.client.close()
        self.check()

    def check(self) -> None:
        """Fail if it ended by itself."""
        if self._life.done() and not self._life.cancelled():
            self._life.result()

    async def come_back(self) -> None:
        """Go on from where it was, without reading again."""
        self.client = Wire(self.client.url, token=self._token, codec=self._codec, position=self.client.position)
        await self.client.__aenter__()
        self._life = asyncio.create_task(self._live())

    @property
    def shown(self) -> Shown:
        return Shown(
            self._conversations,
            self._memberships,
            self._members,
            self._messages,
            self._follows,
            {user: contact for user, contact in self._contacts.items() if contact.contact or contact.blocked},
            self._settings,
            {conversation: self._unread(conversation) for conversation in self._conversations},
        )

    def has(self, conversation: UUID, content: str) -> bool:
        """Tell whether a message that says this is shown."""
        return any(message.content == content for message in self._messages.get(conversation, {}).values())

    def _unread(self, conversation: UUID) -> int:
        _, read = self.marks[conversation][self.user]
        return sum(
            seq > read and message.sender != self.user and not message.deleted and not message.hidden
            for seq, message in self._messages[conversation].items()
        )

    # -- what it is told

    async def _live(self) -> None:
        async for event in self.client.events():
            await self._take(event)

    async def _take(self, event: Event) -> None:
        match event:
            case Reset(rev=0):
                self._forget(event.conversation)
            case Reset():
                await self._read(event.conversation)
            case Conversation() | Member() | Message():
                self._take_change(event)
            case Membership() | Hidden() | Thread() | Contact() | Settings():
                self._take_own(event)
            case _:
                self._take_momentary(event)

    def _take_change(self, event: Conversation | Member | Message) -> None:
        conversation = event.conversation
        heard = conversation, event.user if isinstance(event, Member) else getattr(event, "seq", None), event.rev
        assert heard not in self._heard, f"told twice: {event}"
        self._heard.add(heard)
        if conversation not in self._conversations:
            return  # it was over before it could be read
        match event:
            case Conversation():
                self._conversations[conversation] = replace(event, rev=0)
            case Member(left=True) | Member(role="reader"):
                self._members[conversation].pop(event.user, None)
                self.marks[conversation].pop(event.user, None)
            case Member():
                self._members[conversation][event.user] = replace(event, rev=0)
            case Message() if event.message not in self._hidden:
                messages = self._messages[conversation]
                if event.seq not in messages or event.rev > messages[event.seq].rev:
                    messages[event.seq] = event

    def _take_own(self, event: OwnChange) -> None:
        match event:
            case Membership():
                self._take_membership(event)
            case Hidden():
                self._hidden.add(event.message)
                self._messages.get(event.conversation, {}).pop(event.seq, None)
            case Thread() if event.conversation in self._follows:
                follows = self._follows[event.conversation]
                follows.add(event.message) if event.followed else follows.discard(event.message)
            case Contact():
                self._contacts[event.user] = replace(event, rev=0)
            case Settings():
                self._settings = replace(event, rev=0)

    def _take_momentary(self, event: Event) -> None:
        match event:
            case Receipt() if event.conversation in self.marks:
                marks = self.marks[event.conversation]
                delivered, read = marks.get(event.user, (0, 0))
                marks[event.user] = max(delivered, event.delivered_seq), max(read, event.read_seq)
            case Presence():
                self.presences[event.user] = event
            case Typing():
                self.typing.append(event)

    def _take_membership(self, event: Membership) -> None:
        conversation = event.conversation
        if conversation in self._memberships and not event.left and event.since:
            self._memberships[conversation] = replace(event, rev=0, since=0, cleared=0)
            messages = self._messages[conversation]
            self._messages[conversation] = {seq: each for seq, each in messages.items() if seq > event.cleared}

    def _forget(self, conversation: UUID) -> None:
        for part in (
            self._conversations,
            self._memberships,
            self._members,
            self._messages,
            self._follows,
            self.marks,
        ):
            part.pop(conversation, None)

    # -- what it reads

    async def _read_all(self) -> None:
        page = await self.client.call(ConversationList(limit=100))
        for summary in page.conversations:
            await self._read(summary.conversation)
        for blocked in (False, True):
            listed = (await self.client.call(ContactList(limit=100, blocked=blocked))).contacts
            self._contacts |= {
                each.user: Contact(
                    user=each.user,
                    rev=0,
                    contact=each.contact,
                    nickname=each.nickname,
                    favorite=each.favorite,
                    blocked=each.blocked,
                )
                for each in listed
            }
        privacy = await self.client.call(PrivacyGet())
        (own,) = (await self.client.call(ProfileGet(users=[self.user]))).profiles
        self._settings = Settings(
            rev=0,
            display_name=own.display_name,
            bio=own.bio,
            avatar_url=own.avatar_url,
            **{name: getattr(privacy, name) for name in privacy.__struct_fields__},
        )

    async def _read(self, conversation: UUID) -> None:
        """Read a conversation anew, from its first message to its last."""
        self._forget(conversation)
        try:
            details = await self.client.call(ConversationGet(conversation=conversation))
            messages = await self._read_messages(conversation)
            threads = await self.client.call(ThreadList(conversation=conversation, followed=True, limit=50))
        except CommandFailed:
            return  # no member any more: that is what it is told next
        summary, people = details.conversation, details.participants
        self._conversations[conversation] = Conversation(
            conversation=conversation,
            rev=0,
            type=summary.type,
            created_at=summary.created_at,
            name=summary.name,
            created_by=summary.created_by,
            description=summary.description,
            avatar_url=summary.avatar_url,
            history=summary.history,
            public=summary.public,
        )
        self._memberships[conversation] = Membership(
            conversation=conversation,
            rev=0,
            role=summary.role,
            silenced=summary.silenced,
            muted_until=summary.muted_until,
            marked_unread=summary.marked_unread,
        )
        self._members[conversation] = {
            each.user: Member(conversation=conversation, rev=0, user=each.user, role=each.role, silenced=each.silenced)
            for each in people
            if each.role != "reader"
        }
        self.marks[conversation] = {each.user: (each.delivered_seq, each.read_seq) for each in people}
        self.marks[conversation][self.user] = summary.delivered_seq, summary.read_seq
        self._messages[conversation] = messages
        self._follows[conversation] = {thread.message.message for thread in threads.threads}
        self.counted[conversation] = summary.unread

    async def _read_messages(self, conversation: UUID) -> dict[int, Message]:
        messages: dict[int, Message] = {}
        is_more = True
        while is_more:
            command = MessageHistory(conversation=conversation, after=max(messages, default=0), limit=PAGE)
            page = await self.client.call(command)
            messages |= {message.seq: message for message in page.messages}
            self.mine |= page.mine
            is_more = page.more
        return messages

    @property
    def told(self) -> list[str]:
        """Every text that came unasked, since it was last switched on."""
        return [event.content for event in self.client.came if isinstance(event, Message)]

    def was_behind(self) -> bool:
        return any(isinstance(event, Behind) for event in self.client.came)
