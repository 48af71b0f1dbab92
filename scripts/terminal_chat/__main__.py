"""Who talks to whom, by the command line and the demo users of this machine."""

import argparse
import asyncio
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit
from uuid import NAMESPACE_OID, UUID, uuid5

import msgspec

from echo_ws.client import Client, Closed, CommandFailed
from echo_ws.config import ConfigError, Settings, load
from echo_ws.phones import BadPhone, e164
from echo_ws_protocol.commands import ContactLookup, ConversationCreate, ConversationGet
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
        asyncio.run(_talk(options.url or _url(settings), token, others, names, _again(options)))
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
    parser.add_argument("--url", type=_websocket, help="ws://HOST:PORT/ws; default: the server of this machine")
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


def _websocket(url: str) -> str:
    with suppress(ValueError):  # of address or port
        parts = urlsplit(url)
        if parts.scheme in {"ws", "wss"} and parts.hostname and parts.port != 0:
            return url
    raise argparse.ArgumentTypeError(f"{url}: expected ws://HOST:PORT/ws or wss://HOST/ws")


def _again(options: argparse.Namespace) -> str:
    """Return the command that starts a chat as the same user, without the token."""
    words = ["scripts/chat"]
    words += ["--url", options.url] if options.url else []
    words += ["--as", options.me] if options.me else []
    named = options.token and options.token != os.environ.get("CHAT_TOKEN")
    return shlex.join(words) + (" --token …" if named else "")


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


def _sides(options: argparse.Namespace, people: list[Person], folder: Path) -> tuple[str, list[UUID | str]]:
    """Return the token to enter with, and the others: ids, and phone numbers that the server has to look up."""
    if options.me:
        me = _demo_user(people, options.me)
        if me is None:
            sys.exit(f"{options.me}: no such demo user; {_known(people, folder)}")
    else:
        me = None if options.token else next(iter(people), None)
    others = [_find(people, who, folder) for who in options.others]
    if not others:
        others += [person.user for person in people if person is not me][:1]
    token = options.token or (me and me.token)
    if not token or not others:
        sys.exit(f"no demo users in {folder}: start scripts/serve first, or name --url, --token and --with")
    return token, others


def _demo_user(people: list[Person], who: str) -> Person | None:
    names = who.lower()
    return next((one for one in people if names in {one.name.lower(), one.phone, str(one.user)}), None)


def _find(people: list[Person], who: str, folder: Path) -> UUID | str:
    if person := _demo_user(people, who):
        return person.user
    with suppress(ValueError):
        return UUID(who)
    with suppress(BadPhone):
        return e164(who)
    sys.exit(f"{who}: no id, no phone number, and no such demo user; {_known(people, folder)}")


def _known(people: list[Person], folder: Path) -> str:
    names = ", ".join(person.name for person in people)
    return f"there are: {names}" if names else f"there are none in {folder}: start scripts/serve first"


def _url(settings: Settings) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    return f"ws://{f'[{host}]' if ':' in host else host}:{settings.port}/ws"


async def _talk(url: str, token: str, others: list[UUID | str], names: dict[UUID, str], again: str) -> None:
    async with Client(url, token=token, open_timeout=5) as client:
        conversation = await _enter(client, await _look_up(client, others))
        say(f"connected to {url} as {names.get(client.user, client.user)}, /help lists what you can do")
        await Chat(client, conversation, names, again).run()


async def _look_up(client: Client, others: list[UUID | str]) -> list[UUID]:
    """Return the others, with a user for each phone number."""
    hashes = {phone: sha256(phone.encode()).hexdigest()[:32] for phone in others if isinstance(phone, str)}
    found = (await client.call(ContactLookup(hashes=list(hashes.values())))).found if hashes else {}
    for phone, digest in hashes.items():
        if digest not in found:
            sys.exit(f"{phone}: nobody who shows this number has it")
    return [who if isinstance(who, UUID) else found[hashes[who]] for who in others]


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
