"""What a line that begins with a slash asks for. Answers are told; what changes comes back as an event."""

import re
from datetime import UTC, datetime, timedelta
from typing import Protocol, TypeVar
from uuid import UUID

from msgspec import ValidationError

from echo_ws_protocol.commands import (
    Command,
    ContactBlock,
    ConversationLeave,
    ConversationMute,
    ConversationUpdate,
    MessageDelete,
    MessageEdit,
    MessageEdits,
    MessageHide,
    MessagePin,
    MessagePins,
    MessageSearch,
    MessageSend,
    ParticipantAdd,
    ParticipantDemote,
    ParticipantPromote,
    ParticipantRemove,
    ParticipantSilence,
    PollVote,
    ReactionSet,
    ThreadGet,
)
from echo_ws_protocol.events import Message
from echo_ws_protocol.ids import uuid7

from .output import say
from .screen import Screen
from .words import clean, content

R = TypeVar("R")

HELP = """\
/reply [#n] text     answer a message            /react [#n] 👍       put an emoji on a message
/edit [#n] text      change one of yours         /unreact [#n] 👍     take it away
/delete [#n]         delete one of yours         /pin, /unpin [#n]    pin a message, or no longer
/hide [#n]           delete it for yourself      /pins                show what is pinned
/edits [#n]          what it said before         /search words        search this conversation
/thread [#n]         the replies to it           /history [n]         show n older messages
/poll question | a | b    ask                    /vote [#n] 1 2       answer, by the numbers
/invite, /remove, /promote, /demote, /silence, /unsilence NAME   as an admin of a group
/block, /unblock [NAME]                          /mute [hours], /unmute
/rename text         as an admin of a group      /leave               leave this group
/who                 who is here                 /quit                end the chat (or Ctrl-D)
Without #n: your last message for /edit and /delete, the last one of the others for /reply, /react and /unreact,
the last poll for /vote, the last one for all else. NAME is the name or the id of somebody."""

OF_MINE = {"edit", "delete"}
OF_OTHERS = {"reply", "react", "unreact"}
OF_ANY = {"hide", "pin", "unpin", "edits", "thread", "vote"}
ABOUT_PEOPLE = {"invite", "remove", "promote", "demote", "silence", "unsilence", "block", "unblock"}
EXAMPLES = {
    "reply": "yes",
    "edit": "yes",
    "vote": "1",
    "poll": "where? | here | there",
    "search": "lunch",
    "rename": "lunch",
}


class Ask(Protocol):
    """Calls the server; the user is told when the answer is no, and None returned."""

    async def __call__(self, command: Command[R], *, quiet: bool = False) -> R | None: ...


class Send(Protocol):
    """Sends a text to the conversation."""

    async def __call__(self, text: str, reply_to: UUID | None = None) -> None: ...


class Orders:
    """Carries out what the user asks for in one conversation."""

    def __init__(self, ask: Ask, send: Send, conversation: UUID, screen: Screen) -> None:
        self._ask = ask
        self._send = send
        self._here = conversation
        self._screen = screen

    async def obey(self, verb: str, rest: str) -> None:
        if verb in OF_MINE | OF_OTHERS | OF_ANY:
            await self._about_message(verb, rest)
        elif verb in ABOUT_PEOPLE:
            await self._about_person(verb, rest)
        else:
            await self._about_conversation(verb, rest)

    async def _about_message(self, verb: str, rest: str) -> None:
        mine = None if verb in OF_ANY else verb in OF_MINE
        target, text = self._screen.pick(rest, mine=mine, type_="poll" if verb == "vote" else None)
        if target is None:
            say("there is no such message on the screen; name one by its number, as in /reply #3 yes")
        elif verb in {"react", "unreact"} and text.isascii():
            say(f"/{verb} wants an emoji, as in /{verb} 👍 or /{verb} #3 👍")
        elif verb in EXAMPLES and not text:
            say(f"/{verb} wants a text, as in /{verb} {EXAMPLES[verb]} or /{verb} #3 {EXAMPLES[verb]}")
        else:
            await self._do(verb, target.message, text)

    async def _do(self, verb: str, message: UUID, text: str) -> None:
        match verb:
            case "reply":
                await self._send(text, reply_to=message)
            case "edit":
                await self._ask(MessageEdit(conversation=self._here, message=message, content=text))
            case "delete":
                await self._ask(MessageDelete(conversation=self._here, message=message))
            case "hide":
                await self._ask(MessageHide(conversation=self._here, message=message))
            case "react" | "unreact":
                await self._ask(ReactionSet(conversation=self._here, message=message, emoji=text, on=verb == "react"))
            case "pin" | "unpin":
                await self._ask(MessagePin(conversation=self._here, message=message, on=verb == "pin"))
            case "vote":
                await self._vote(message, text)
            case "edits":
                await self._tell_edits(message)
            case _:
                await self._tell_thread(message)

    async def _vote(self, message: UUID, text: str) -> None:
        numbers = text.replace(",", " ").split()
        if all(re.fullmatch("[1-9]|10", number) for number in numbers):
            options = [int(number) - 1 for number in numbers]
            await self._ask(PollVote(conversation=self._here, message=message, options=options))
        else:
            say("/vote wants the numbers of options, as in /vote 1 or /vote #3 1 2")

    async def _tell_edits(self, message: UUID) -> None:
        if page := await self._ask(MessageEdits(conversation=self._here, message=message)):
            for edit in page.edits:
                say(f"{edit.written_at.astimezone():%d %b %H:%M}  {clean(edit.content)}")
            if not page.edits:
                say("it was never edited")

    async def _tell_thread(self, message: UUID) -> None:
        if thread := await self._ask(ThreadGet(conversation=self._here, message=message)):
            self._tell([thread.message, *thread.messages], "")
            say(f"{thread.replies} {'reply' if thread.replies == 1 else 'replies'}")

    async def _about_person(self, verb: str, who: str) -> None:
        user = self._screen.person(who)
        if user is None:
            say(f"/{verb} wants a name of somebody here, or an id")
            return
        match verb:
            case "invite":
                added = await self._ask(ParticipantAdd(conversation=self._here, users=[user]))
                if added and added.refused:
                    say(f"{who} could not be added")
            case "remove":
                await self._ask(ParticipantRemove(conversation=self._here, user=user))
            case "promote":
                await self._ask(ParticipantPromote(conversation=self._here, user=user))
            case "demote":
                await self._ask(ParticipantDemote(conversation=self._here, user=user))
            case "silence" | "unsilence":
                await self._ask(ParticipantSilence(conversation=self._here, user=user, on=verb == "silence"))
            case _:
                await self._ask(ContactBlock(user=user, on=verb == "block"))

    async def _about_conversation(self, verb: str, rest: str) -> None:
        match verb:
            case "poll" | "search" | "rename" if not rest:
                say(f"/{verb} wants a text, as in /{verb} {EXAMPLES[verb]}")
            case "poll":
                await self._poll(*(part.strip() for part in rest.split("|")))
            case "pins":
                if pinned := await self._ask(MessagePins(conversation=self._here)):
                    self._tell(pinned.messages, "nothing is pinned")
            case "search":
                if found := await self._ask(MessageSearch(query=rest, conversation=self._here)):
                    self._tell([one.message for one in found.found], "nothing was found")
            case "rename":
                await self._ask(ConversationUpdate(conversation=self._here, name=rest))
            case "mute" | "unmute":
                await self._mute(rest if verb == "mute" else None)
            case "leave":
                await self._ask(ConversationLeave(conversation=self._here))
            case _:
                say(f"there is no /{verb}; /help lists what there is")

    async def _poll(self, question: str, *options: str) -> None:
        metadata = {"question": question, "options": list(options)}
        try:
            poll = MessageSend(conversation=self._here, message=uuid7(), type="poll", metadata=metadata)
        except ValidationError:
            say(f"/poll wants a question and 2 to 10 answers, as in /poll {EXAMPLES['poll']}")
        else:
            await self._ask(poll)

    async def _mute(self, hours: str | None) -> None:
        if hours and not re.fullmatch("[1-9][0-9]{0,3}", hours):
            say("/mute wants hours, 1 to 9999, as in /mute 8; without a number it is for ever")
            return
        until = datetime.now(UTC) + timedelta(hours=int(hours)) if hours else None
        if await self._ask(ConversationMute(conversation=self._here, on=hours is not None, until=until)):
            when = f" until {until.astimezone():%d %b %H:%M}" if until else ""
            say("you are notified again" if hours is None else f"you are not notified of what is said here{when}")

    def _tell(self, messages: list[Message], otherwise: str) -> None:
        for message in messages:
            said = "deleted" if message.deleted else content(message)
            when = f"{message.created_at.astimezone():%d %b %H:%M}"
            say(f"{when} #{message.seq} {self._screen.name(message.sender)}  {said}", "")
        if not messages:
            say(otherwise)
