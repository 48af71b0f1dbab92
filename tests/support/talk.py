"""What people say in stories that are about something else."""

from typing import Any
from uuid import UUID

from echo_ws.client import Client
from echo_ws_protocol.commands import ContactBlock, MessageHistory, MessageSend
from echo_ws_protocol.events import Message
from echo_ws_protocol.ids import uuid7

POLL = {"question": "When?", "options": ["at five", "at six", "never"]}
IMAGE = {"file_url": "https://cdn.example.org/cake.jpg", "width": 1920, "height": 1080}


async def say(person: Client, conversation: UUID, content: str = "hi", **fields: Any) -> UUID:
    """Send a message and return its id."""
    message = uuid7()
    await person.call(MessageSend(conversation=conversation, message=message, content=content, **fields))
    return message


async def say_each(person: Client, conversation: UUID, *texts: str) -> list[UUID]:
    """Send messages, one after the other, and return their ids."""
    return [await say(person, conversation, text) for text in texts]


async def ask(person: Client, conversation: UUID, **metadata: Any) -> UUID:
    """Send a poll and return its id."""
    return await say(person, conversation, "", type="poll", metadata={**POLL, **metadata})


async def kept_back(sender: Client, other: Client, direct: UUID, content: str = "let me in", **fields: Any) -> UUID:
    """Let the other one block the sender, who then sends what is kept from the other one; return its id."""
    await other.call(ContactBlock(user=sender.user))
    return await say(sender, direct, content, **fields)


async def seen(person: Client, conversation: UUID, message: UUID) -> Message:
    """Return a message as a person finds it in the history."""
    page = await person.call(MessageHistory(conversation=conversation, limit=100))
    return next(each for each in page.messages if each.message == message)
