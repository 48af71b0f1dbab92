"""Who talks to whom, by the command line and the demo users of this machine."""

import argparse
import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import NAMESPACE_OID, UUID, uuid5

import msgspec

from echo_ws.client import Client, Closed, CommandFailed
from echo_ws.config import ConfigError, Settings, load
from echo_ws_protocol.commands import ConversationCreate, ConversationGet
from echo_ws_protocol.errors import ErrorCode
from echo_ws_protocol.ids import uuid7

from .chat import Chat
from .orders import HELP
from .output import say
from .words import clean


class Person(msgspec.Struct):
    """A demo user."""

    user: UUID
    name: str
    phone: str
    token: str


def main() -> None:
    options = _options()
    try:
        settings = load(os.environ, None, {})
    except ConfigError as error:
        sys.exit(str(error))
    people = _demo_users(settings.data_dir / "demo-users.jsonl")
    token, others = _sides(options, people, settings.data_dir)
    names = {person.user: clean(person.name) for person in people}
    try:
        asyncio.run(_talk(options.url or _url(settings), token, others, names))
    except KeyboardInterrupt:
        pass
    except (Closed, CommandFailed, TimeoutError) as error:
        sys.exit(str(error))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/chat",
        description="Chat in the terminal, as one of the demo users that scripts/serve made or with a token of yours.",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--url", help="ws://HOST:PORT/ws; default: the server of this machine")
    parser.add_argument("--as", dest="me", metavar="NAME", help="demo user, by name or phone; default: the first")
    parser.add_argument(
        "--token", default=os.environ.get("CHAT_TOKEN"), help="your token; CHAT_TOKEN shows it to fewer"
    )
    parser.add_argument(
        "--with",
        dest="others",
        metavar="NAME|PHONE|ID",
        action="append",
        default=[],
        help="whom to talk to (several: a group), or the id of a conversation; default: the next demo user",
    )
    return parser.parse_args(list(_with_token_attached(sys.argv[1:])))


def _with_token_attached(arguments: list[str]) -> Iterator[str]:
    """Turn ``--token X`` into ``--token=X``: a token may begin with a dash."""
    rest = iter(arguments)
    for argument in rest:
        yield f"--token={next(rest, '')}" if argument == "--token" else argument


def _demo_users(file: Path) -> list[Person]:
    try:
        return [msgspec.json.decode(line, type=Person) for line in file.read_bytes().splitlines()]
    except OSError:
        return []


def _sides(options: argparse.Namespace, people: list[Person], folder: Path) -> tuple[str, list[UUID]]:
    """Return the token to enter with and the others."""
    if options.me:
        user = _find(people, options.me, folder)
        me = next((person for person in people if person.user == user), None)
    else:
        me = None if options.token else next(iter(people), None)
    others = [_find(people, who, folder) for who in options.others] or [
        person.user for person in people if person is not me
    ][:1]
    token = options.token or (me and me.token)
    if not token or not others:
        sys.exit(f"no demo users in {folder}: start scripts/serve first, or name --url, --token and --with")
    return token, others


def _find(people: list[Person], who: str, folder: Path) -> UUID:
    for person in people:
        if who.lower() in {person.name.lower(), person.phone}:
            return person.user
    try:
        return UUID(who)
    except ValueError:
        names = ", ".join(person.name for person in people)
        known = f"there are: {names}" if names else f"there are none in {folder}: start scripts/serve first"
        sys.exit(f"{who}: no id, and no such demo user; {known}")


def _url(settings: Settings) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    return f"ws://{f'[{host}]' if ':' in host else host}:{settings.port}/ws"


async def _talk(url: str, token: str, others: list[UUID], names: dict[UUID, str]) -> None:
    async with Client(url, token=token, open_timeout=5) as client:
        conversation = await _enter(client, others)
        say(f"connected to {url} as {names.get(client.user, client.user)}, /help lists what you can do")
        await Chat(client, conversation, names).run()


async def _enter(client: Client, others: list[UUID]) -> UUID:
    """Return the conversation with these people, made if need be. A single id may also be a conversation's."""
    group = uuid5(NAMESPACE_OID, " ".join(sorted(map(str, {client.user, *others}))))
    alone = len(others) == 1
    try:
        found = await client.call(ConversationGet(conversation=others[0] if alone else group))
    except CommandFailed as failed:
        if failed.code != ErrorCode.NOT_FOUND:
            raise
    else:
        return found.conversation.conversation
    created = await client.call(
        ConversationCreate(
            conversation=uuid7() if alone else group, type="direct" if alone else "group", participants=others
        )
    )
    return created.conversation


if __name__ == "__main__":
    main()
