"""No secret comes out where it may not: every command, by its owner and by others, and whatever goes wrong.

Vera's secrets and the server's are planted; what everybody is told, what is logged at the level `debug`, and the pages
for operators are searched for them.
"""

import asyncio
import io
import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from websockets.exceptions import ConnectionClosed

from echo_ws.settings import JwtKey
from echo_ws_protocol.codec import COMMANDS
from echo_ws_protocol.ids import uuid7
from tests.support.doors import line, post
from tests.support.mailbox import MAILBOX
from tests.support.shown import shown
from tests.support.world import Worker, World

ADDRESS = "198.51.100.77"
AGENT = "vera-browser/7.7"
CITY = "Verasbourg"
PASSWORDS = ["the first of vera's passwords", "the second of vera's passwords"]
EMAIL = "vera.of.the.test@example.org"
KEYS = {
    "secret key": "planted secret key of the server in this test",
    "JWT key": "planted key for access tokens in this test",
    "webhook secret": "planted secret of the webhook in this test",
}

ALLOWED = {
    *(("session token", "vera", op) for op in ("account.login", "token.refresh")),
    *(("refresh token", "vera", op) for op in ("account.login", "token.refresh")),
    *(("access token", "vera", op) for op in ("account.login", "token.refresh")),
    *((what, "vera", "session.list") for what in ("address", "browser", "city")),
}
"""Who is told what, and by which reply: this and nothing else. Nothing of it stands in a log or on a page."""


class Told:
    """All that came out: to whom, in answer to what."""

    def __init__(self) -> None:
        self.texts: defaultdict[tuple[str, str], list[str]] = defaultdict(list)

    def add(self, whom: str, where: str, what: object) -> None:
        self.texts[whom, where].append(what if isinstance(what, str) else json.dumps(what, ensure_ascii=False))

    def found(self, secrets: Mapping[str, list[str]]) -> set[tuple[str, str, str]]:
        """Return which secrets were told to whom, and where."""
        return {
            (kind, whom, where)
            for (whom, where), texts in self.texts.items()
            for kind, values in secrets.items()
            if any(value in text for value in values for text in texts)
        }


class Person:
    """Somebody who asks over both doors, and keeps all that is said."""

    def __init__(
        self, name: str, worker: Worker, told: Told, address: str = "192.0.2.1", agent: str = "other/1"
    ) -> None:
        self.name = name
        self.worker = worker
        self.token: str | None = None
        self._told = told
        self._headers = {"X_Forwarded_For": address, "User_Agent": agent}

    async def post(self, op: str, **fields: Any) -> Any:
        answer = await post(self.worker, None if COMMANDS[op].who == "anybody" else self.token, op, **fields)
        self._told.add(self.name, op, answer)
        return answer.json

    async def ask(self, *frames: Any) -> Any:
        """Say one frame after the other on a socket of its own, and return the last reply."""
        reply = None
        async with line(self.worker, self.token, **self._headers) as socket:
            try:
                for frame in frames:
                    await socket.say(frame)
                    op = frame["op"] if isinstance(frame, dict) else "no command"
                    while (reply := await socket.next_frame())["op"] != "reply":
                        self._told.add(self.name, reply["op"], reply)
                    self._told.add(self.name, op, reply)
            except ConnectionClosed as closed:
                self._told.add(self.name, "close", str(closed))
        return reply

    async def listen(self) -> None:
        """Keep every event until the task is cancelled."""
        async with line(self.worker, self.token, **self._headers) as socket:
            while True:
                frame = json.loads(await socket.socket.recv())
                self._told.add(self.name, frame["op"], frame)


class Vera(Person):
    """Does everything that one can do with an account, and succeeds."""

    def __init__(self, worker: Worker, told: Told, phones: list[str]) -> None:
        super().__init__("vera", worker, told, ADDRESS, AGENT)
        self.user = ""
        self.secrets: defaultdict[str, list[str]] = defaultdict(list)
        self.phones = self.secrets["phone"] = phones
        self.secrets |= {
            "password": PASSWORDS,
            "e-mail": [EMAIL],
            "address": [ADDRESS],
            "browser": [AGENT],
            "city": [CITY],
        }

    async def ok(self, op: str, **fields: Any) -> Any:
        reply = await self.ask({"op": op, "id": 1, **fields})
        assert "ok" in reply, reply
        return reply["ok"]

    async def code(self, op: str, to: str, **fields: Any) -> dict[str, str]:
        """Ask for a code, and return it with its verification."""
        verification = str(uuid7())
        await self.ok(op, verification=verification, **fields)
        self.secrets["code"].append(await MAILBOX.code(to))
        return {"verification": verification, "code": self.secrets["code"][-1]}

    async def log_in(self, password: str, phone: str, **fields: Any) -> None:
        self.token = None
        place = {"city": CITY, "country": "DE"}
        device = {"device": "device-of-vera", "platform": "web", "location": place}
        self._learn(await self.ok("account.login", phone=phone, password=password, **device, **fields))

    def _learn(self, opened: dict[str, str]) -> None:
        self.token = opened["token"]
        for kind in ("session", "refresh", "access"):
            self.secrets[f"{kind} token"].append(opened[{"session": "token"}.get(kind, f"{kind}_token")])

    async def live(self) -> None:
        first, second = self.phones
        coded = await self.code("account.register", first, phone=first)
        self.user = (await self.ok("account.verify", **coded, password=PASSWORDS[0], name="Vera"))["user"]
        await self.log_in(PASSWORDS[0], first)
        self.token = None
        self._learn(await self.ok("token.refresh", refresh_token=self.secrets["refresh token"][-1]))
        await self.ok("session.refresh", token=self.secrets["access token"][-1])
        assert CITY in str(await self.ok("session.list"))
        coded = await self.code("email.change", EMAIL, email=EMAIL, password=PASSWORDS[0])
        await self.ok("email.verify", **coded)
        await self.ok("password.change", password=PASSWORDS[0], new_password=PASSWORDS[1])
        coded = await self.code("phone.change", second, phone=second, password=PASSWORDS[1])
        await self.ok("phone.verify", **coded)
        await self.ok("account.protect", password=PASSWORDS[1])

    async def err(self) -> None:
        """Say secrets where they do not belong: whoever writes an error or a log line may be tempted to quote them."""
        token, password = str(self.token), PASSWORDS[1]
        await self.ask(
            f"Bearer {token}", {"op": token}, {"op": "session.start", "token": [token]}, b"\x00" + token.encode()
        )
        await self.ask({"op": "account.login", "password": {password: password}}, {"op": "message.send", "content": 7})
        await self.post("password.change", password=[password], new_password=password)
        await self.post("password.change", password=password, new_password=password * 9)
        for head in (
            f"GET /v1/{token}",
            f"POST /v1/session.list?token={token}",
            f"GET /ws?token={token}",
            f"{token} /",
        ):
            self._told.add(
                self.name, "page", await raw(self.worker, f"{head} HTTP/1.1", f"Authorization: Basic {token}")
            )
        other, self.token = self.token, f"{token}x"
        await self.ask({"op": "session.list"})
        self.token = f"{self.secrets['access token'][-1]}x"
        await self.ask({"op": "session.list"})
        self.token = other


async def raw(worker: Worker, *head: str) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", worker.port)
    writer.write("\r\n".join([*head, "Host: here", "Connection: close", "Content-Length: 0", "", ""]).encode())
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    return answer.decode()


async def every_command(person: Person, here: Mapping[str, Any]) -> None:
    """Ask everything, as in the examples but about what is here, over both doors."""
    for op in COMMANDS:
        asked = shown(op, here)
        await person.ask(asked)
        asked.pop("op")
        await person.post(op, **asked)


async def test_no_secret_comes_out_where_it_may_not(world: World, logged: io.StringIO) -> None:
    worker = await world.worker(
        secret_key=KEYS["secret key"],
        webhook_secret=KEYS["webhook secret"],
        jwt_keys={"a": JwtKey(alg="HS256", key=KEYS["JWT key"])},
    )
    told = Told()
    vera = Vera(worker, told, [world.phone(), world.phone()])
    mallory, stranger, nobody = (Person(name, worker, told) for name in ("mallory", "stranger", "nobody"))
    await vera.live()
    with_vera, without = await world.user("Mallory"), await world.user("Stranger")
    mallory.token, stranger.token = await world.token(with_vera), await world.token(without)
    group = await vera_s_group(world, vera, with_vera)
    ear = asyncio.ensure_future(mallory.listen())

    about_vera = {
        "user": vera.user,
        "phone": vera.phones[1],
        "email": EMAIL,
        "session": await world.store.fetchval("SELECT id FROM auth.sessions WHERE user_id = $1::text::uuid", vera.user),
        "participants": [vera.user],
        "conversation": group,
    }
    for person in (mallory, stranger, nobody):
        await every_command(person, {**about_vera, "token": person.token})
    await every_command(vera, {"conversation": group, "token": vera.token, "password": PASSWORDS[1], "scope": "others"})
    await vera.err()
    await every_failure(world, vera)
    for page in ("/healthz", "/readyz", "/metrics", "/nothing"):
        told.add("operator", page, await raw(worker, f"GET {page} HTTP/1.1"))
    ear.cancel()

    told.add("operator", "log", logged.getvalue())
    secrets = {**vera.secrets, **{name: [key] for name, key in KEYS.items()}, **await stored(world)}
    assert "logged_in" in logged.getvalue()
    assert all(all(values) for values in secrets.values())
    assert {("mallory", op) for op in COMMANDS} <= set(told.texts)
    assert ALLOWED == told.found(secrets)


async def vera_s_group(world: World, vera: Vera, other: Any) -> str:
    group = str(uuid7())
    await vera.ok("conversation.create", conversation=group, type="group", participants=[str(other)])
    await vera.ok("message.send", conversation=group, message=str(uuid7()), content="hi")
    return group


async def every_failure(world: World, vera: Vera) -> None:
    """Let PostgreSQL refuse a row of Vera's: its error quotes the whole of it."""
    await world.store.execute(
        "ALTER TABLE auth.users ADD CONSTRAINT broken CHECK (failed_login_attempts < 0) NOT VALID"
    )
    reply = await vera.ask({"op": "account.protect", "password": PASSWORDS[1]})
    assert "internal" == reply["error"]["code"], reply


async def stored(world: World) -> dict[str, list[str]]:
    """Return what the database keeps and nobody is told."""
    columns = {
        "password hash": "SELECT password_hash FROM auth.users WHERE password_hash <> '!'",
        "session digest": "SELECT session_token FROM auth.sessions",
        "refresh digest": "SELECT token FROM auth.refresh_tokens",
        "code digest": "SELECT code_digest FROM auth.otp_verifications WHERE code_digest IS NOT NULL",
    }
    return {name: [row[0] for row in await world.store.fetch(sql)] for name, sql in columns.items()}
