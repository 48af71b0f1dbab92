"""Logging in by identities at providers, over both doors, against a local issuer that signs real tokens."""

import asyncio
import hashlib
import hmac
import io
import json
import time
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from echo_ws import passwords
from echo_ws_protocol.ids import uuid7
from tests.support.doors import DOORS, Answer, Door, line, opened, post
from tests.support.issuer import (
    CLIENT,
    OTHER_CLIENT,
    REDIRECT,
    SECRET,
    Issuer,
    Key,
    ec_key,
    rsa_key,
    somebody,
)
from tests.support.issuer import Person as Foreigner
from tests.support.mailbox import MAILBOX
from tests.support.other_service import Sql
from tests.support.waiting import until
from tests.support.world import Worker, World

PASSWORD = "correct horse 🐎"
PROVIDERS = ("google", "apple", "facebook", "github")
PHONE = {"device": "alices-phone", "platform": "ios"}

every_provider = pytest.mark.parametrize("provider", PROVIDERS)


@pytest.fixture(params=DOORS)
async def ask(request: pytest.FixtureRequest, worker: Worker) -> AsyncIterator[Door]:
    """Yield each of the two doors, for somebody without a session."""
    async with opened(worker, request.param) as door:
        yield door


class Member(NamedTuple):
    user: UUID
    phone: str
    token: str


@pytest.fixture
async def alice(people: World) -> Member:
    return await member(people)


async def member(people: World) -> Member:
    """Add a user with a password and a session."""
    user = await people.user("Alice")
    phone = await people.store.fetchval(
        "UPDATE auth.users SET password_hash = $2 WHERE id = $1 RETURNING phone",
        user,
        passwords.hash_password(PASSWORD),
    )
    return Member(user, phone, await people.token(user))


class Flow(NamedTuple):
    id: UUID
    page: str
    nonce: str
    state: str


def flow_of(id_: UUID, reply: Any) -> Flow:
    assert "ok" in reply, reply
    return Flow(id_, reply["ok"]["url"], reply["ok"]["nonce"], reply["ok"]["state"])


async def begun(worker: Worker, provider: str = "google") -> Flow:
    """Begin to log in."""
    flow = uuid7()
    answer = await post(worker, None, "oauth.begin", flow=flow, provider=provider, redirect_uri=REDIRECT)
    return flow_of(flow, answer.json)


def proof(issuer: Issuer, flow: Flow, person: Foreigner) -> dict[str, Any]:
    """Go to the provider, and return what comes back as fields of a command."""
    fields, id_token = issuer.visit(flow.page, person)
    if id_token:
        id_token = issuer.token(flow.nonce, person, iss="https://appleid.apple.com", name=None)
        return {"state": fields["state"], "id_token": id_token}
    return fields


async def log_in(worker: Worker, issuer: Issuer, person: Foreigner, provider: str = "google", **fields: Any) -> Answer:
    flow = await begun(worker, provider)
    return await post(worker, None, "oauth.login", flow=flow.id, **proof(issuer, flow, person), **PHONE, **fields)


async def connect(worker: Worker, owner: Member, provider: str = "google") -> Flow:
    """Begin to link."""
    flow = uuid7()
    answer = await post(
        worker, owner.token, "oauth.connect",
        flow=flow, provider=provider, redirect_uri=REDIRECT, password=PASSWORD,
    )  # fmt: skip
    return flow_of(flow, answer.json)


async def link(worker: Worker, issuer: Issuer, owner: Member, person: Foreigner, provider: str = "google") -> Answer:
    flow = await connect(worker, owner, provider)
    return await post(worker, owner.token, "oauth.link", flow=flow.id, **proof(issuer, flow, person))


@pytest.fixture
async def ann(people: World, alice: Member, worker: Worker, issuer: Issuer) -> Foreigner:
    """Return who Alice is at Google, where she has linked it."""
    person = somebody()
    assert 200 == (await link(worker, issuer, alice, person)).status
    assert "identity_linked" == (await MAILBOX.notice(alice.phone)).purpose
    return person


async def may(worker: Worker, token: str) -> bool:
    return (await post(worker, token, "conversation.list")).status == 200


async def code_for(worker: Worker, phone: str) -> tuple[UUID, str]:
    """Ask for a code to register, and return the verification and the code."""
    verification = uuid7()
    assert 200 == (await post(worker, None, "account.register", verification=verification, phone=phone)).status
    return verification, await MAILBOX.code(phone)


def code_of(reply: Any) -> str:
    return str(reply["error"]["code"])


async def reasons(db: Sql, user: UUID) -> list[str | None]:
    rows = await db.fetch("SELECT failure_reason FROM auth.login_history WHERE user_id = $1 ORDER BY created_at", user)
    return [row[0] for row in rows]


async def sessions(db: Sql, user: UUID, device: str = "alices-phone") -> int:
    count: int = await db.fetchval(
        "SELECT count(*) FROM auth.sessions WHERE user_id = $1 AND device_id = $2", user, device
    )
    return count


# Coming for the first time, and again


@every_provider
async def test_who_comes_for_the_first_time_proves_a_phone_and_then_logs_in_without(
    provider: str, ask: Door, people: World, worker: Worker, issuer: Issuer, db: Sql
) -> None:
    person, phone, flow, verification = somebody(), people.phone(), uuid7(), uuid7()
    begun_ = flow_of(flow, await ask("oauth.begin", flow=flow, provider=provider, redirect_uri=REDIRECT))

    first = await ask("oauth.login", flow=flow, **proof(issuer, begun_, person), **PHONE)
    await ask("account.register", verification=verification, phone=phone)
    code = await MAILBOX.code(phone)
    registering = {"flow": flow, "verification": verification, "name": "Ann", **PHONE}
    wrong = await ask("oauth.register", code=f"{(int(code) + 1) % 10**6:06}", **registering)
    made = await ask("oauth.register", code=code, **registering)
    again = await log_in(worker, issuer, person, provider)

    assert ("phone_needed", "rejected") == (first["error"]["code"], first["error"]["outcome"])
    assert "$.code" == wrong["error"]["field"]
    assert made["ok"]["user"] == again.json["ok"]["user"]
    assert await may(worker, again.json["ok"]["token"])
    user = UUID(made["ok"]["user"])
    row = await db.fetchrow(
        "SELECT u.phone, u.password_hash, u.verified, p.display_name, s.user_id AS private FROM auth.users u"
        " JOIN users.profiles p ON p.user_id = u.id JOIN users.privacy_settings s ON s.user_id = u.id WHERE u.id = $1",
        user,
    )
    assert row is not None
    assert (phone, "!", True, "Ann") == (row["phone"], row["password_hash"], row["verified"], row["display_name"])
    kept = await db.fetchrow("SELECT * FROM auth.oauth_providers WHERE user_id = $1", user)
    assert kept is not None
    assert (provider, None, None, None) == (
        kept["provider"],
        kept["access_token"],
        kept["refresh_token"],
        kept["token_expires_at"],
    )
    assert [None, None] == await reasons(db, user)


async def test_a_number_that_has_an_account_is_not_taken_over(
    people: World, alice: Member, worker: Worker, issuer: Issuer, db: Sql
) -> None:
    flow, verification = await begun(worker), uuid7()
    await post(worker, None, "oauth.login", flow=flow.id, **proof(issuer, flow, somebody()), **PHONE)

    asked = await post(worker, None, "account.register", verification=verification, phone=alice.phone)
    tried = await post(
        worker, None, "oauth.register", flow=flow.id, verification=verification, code="123456", name="Eve", **PHONE
    )

    assert {"expires_at"} == set(asked.json["ok"])
    assert "already_registered" == (await MAILBOX.notice(alice.phone)).purpose
    assert "$.code" == tried.json["error"]["field"]
    assert 0 == await db.fetchval("SELECT count(*) FROM auth.oauth_providers WHERE user_id = $1", alice.user)


async def test_nobody_is_found_by_an_email_address(
    people: World, alice: Member, worker: Worker, issuer: Issuer, db: Sql
) -> None:
    email = f"{uuid4()}@example.org"
    await db.execute("UPDATE auth.users SET email = $2, email_verified = TRUE WHERE id = $1", alice.user, email)

    answer = await log_in(worker, issuer, Foreigner(uuid4().hex, email=email))

    assert (401, "phone_needed") == (answer.status, code_of(answer.json))


async def test_eight_who_register_at_once_by_one_flow_are_one_user(
    people: World, worker: Worker, issuer: Issuer, db: Sql
) -> None:
    flow, person, phone = await begun(worker), somebody(), people.phone()
    await post(worker, None, "oauth.login", flow=flow.id, **proof(issuer, flow, person), **PHONE)
    verification, code = await code_for(worker, phone)

    answers = await asyncio.gather(
        *(
            post(
                worker, None, "oauth.register",
                flow=flow.id, verification=verification, code=code, name="Ann", **PHONE,
            )
            for _ in range(8)
        )
    )  # fmt: skip

    assert 1 == [answer.status for answer in answers].count(200)
    assert 1 == await db.fetchval("SELECT count(*) FROM auth.users WHERE phone = $1", phone)
    assert 1 == await db.fetchval(
        "SELECT count(*) FROM auth.oauth_providers WHERE provider_user_id = $1", person.subject
    )


async def test_one_identity_in_eight_flows_with_eight_phones_becomes_one_user(
    people: World, worker: Worker, issuer: Issuer, db: Sql
) -> None:
    person = somebody()
    prepared = []
    for _ in range(8):
        flow, phone = await begun(worker), people.phone()
        await post(worker, None, "oauth.login", flow=flow.id, **proof(issuer, flow, person), **PHONE)
        prepared.append((flow.id, *await code_for(worker, phone)))

    answers = await asyncio.gather(
        *(
            post(
                worker, None, "oauth.register",
                flow=flow, verification=verification, code=code, name="Ann", **PHONE,
            )
            for flow, verification, code in prepared
        )
    )  # fmt: skip

    assert {200: 1, 401: 7} == Counter(answer.status for answer in answers)
    assert 1 == await db.fetchval(
        "SELECT count(*) FROM auth.oauth_providers WHERE provider_user_id = $1", person.subject
    )
    assert 1 == await db.fetchval(
        "SELECT count(*) FROM auth.otp_verifications WHERE verified AND id = ANY ($1)", [each[1] for each in prepared]
    )


async def test_who_lost_the_answer_to_a_registration_logs_in(
    people: World, worker: Worker, issuer: Issuer, db: Sql
) -> None:
    flow, person = await begun(worker), somebody()
    await post(worker, None, "oauth.login", flow=flow.id, **proof(issuer, flow, person), **PHONE)
    verification, code = await code_for(worker, people.phone())
    fields = {"flow": flow.id, "verification": verification, "code": code, "name": "Ann", **PHONE}
    made = await post(worker, None, "oauth.register", **fields)

    repeated = await post(worker, None, "oauth.register", **fields)
    again = await log_in(worker, issuer, person)

    assert (401, 200) == (repeated.status, again.status)
    assert made.json["ok"]["user"] == again.json["ok"]["user"]


# Logging in


async def test_a_login_opens_a_session_like_any_other(
    ask: Door, alice: Member, ann: Foreigner, worker: Worker, issuer: Issuer, db: Sql
) -> None:
    before = (await log_in(worker, issuer, ann)).json["ok"]
    flow = uuid7()
    begun_ = flow_of(flow, await ask("oauth.begin", flow=flow, provider="google", redirect_uri=REDIRECT))

    opened = await ask(
        "oauth.login",
        flow=flow,
        **proof(issuer, begun_, ann),
        **PHONE,
        device_name="Ann's phone",
        metadata={"os": "iOS"},
    )

    assert str(alice.user) == opened["ok"]["user"]
    assert [False, True] == [await may(worker, each["token"]) for each in (before, opened["ok"])]
    refreshed = await post(worker, None, "token.refresh", refresh_token=opened["ok"]["refresh_token"])
    assert await may(worker, refreshed.json["ok"]["token"])
    row = await db.fetchrow("SELECT * FROM auth.sessions WHERE id = $1", UUID(opened["ok"]["session"]))
    assert row is not None
    assert ("alices-phone", "Ann's phone", "ios") == (row["device_id"], row["device_name"], row["platform"])


async def test_a_system_that_asks_for_a_token_itself_needs_no_page(
    people: World, alice: Member, ann: Foreigner, worker: Worker, issuer: Issuer
) -> None:
    flow = uuid7()
    begun_ = await post(worker, None, "oauth.begin", flow=flow, provider="google")
    token = issuer.token(begun_.json["ok"]["nonce"], ann, aud=OTHER_CLIENT, azp=OTHER_CLIENT, iss="accounts.google.com")

    answer = await post(worker, None, "oauth.login", flow=flow, id_token=token, **PHONE)

    assert "url" not in begun_.json["ok"]
    assert str(alice.user) == answer.json["ok"]["user"]


async def test_apple_may_sign_with_an_elliptic_curve_where_that_is_configured(worker: Worker, issuer: Issuer) -> None:
    answers = []
    for provider, iss in (("apple", "https://appleid.apple.com"), ("google", "https://accounts.google.com")):
        flow = await begun(worker, provider)
        token = issuer.token(flow.nonce, somebody(), alg="ES256", iss=iss)
        answers.append(await post(worker, None, "oauth.login", flow=flow.id, id_token=token, **PHONE))

    assert ["phone_needed", "unauthenticated"] == [code_of(answer.json) for answer in answers]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("locked = TRUE", "google_locked"),
        ("deleted_at = now()", "google_deleted"),
        ("verified = FALSE", "google_unverified"),
    ],
)
async def test_who_may_not_log_in_is_kept_out_by_every_way(
    change: str, reason: str, alice: Member, ann: Foreigner, worker: Worker, issuer: Issuer, db: Sql
) -> None:
    await db.execute(f"UPDATE auth.users SET {change} WHERE id = $1", alice.user)

    answer = await log_in(worker, issuer, ann)

    assert (401, "unauthenticated") == (answer.status, code_of(answer.json))
    assert reason == (await reasons(db, alice.user))[-1]
    assert 0 == await sessions(db, alice.user)


async def test_strangers_who_guess_at_the_password_keep_nobody_out(
    alice: Member, ann: Foreigner, worker: Worker, issuer: Issuer, db: Sql
) -> None:
    await db.execute(
        "UPDATE auth.users SET failed_login_attempts = 9, locked_until = now() + interval '9 minutes' WHERE id = $1",
        alice.user,
    )

    assert 200 == (await log_in(worker, issuer, ann)).status


async def test_a_second_factor_is_asked_for_here_too(
    alice: Member, ann: Foreigner, worker: Worker, issuer: Issuer, db: Sql
) -> None:
    await post(worker, alice.token, "account.protect", password=PASSWORD)
    flow, verification = await begun(worker), uuid7()

    first = await post(worker, None, "oauth.login", flow=flow.id, **proof(issuer, flow, ann), **PHONE)
    second = await post(worker, None, "oauth.login", flow=flow.id, verification=verification, **PHONE)
    code = await MAILBOX.code(alice.phone)
    fields = {"flow": flow.id, "verification": verification, **PHONE}
    wrong = await post(worker, None, "oauth.login", code=f"{(int(code) + 1) % 10**6:06}", **fields)
    answers = await asyncio.gather(*(post(worker, None, "oauth.login", code=code, **fields) for _ in range(8)))

    assert ["code_needed"] * 2 == [code_of(answer.json) for answer in (first, second)]
    assert "$.code" == wrong.json["error"]["field"]
    assert 1 == [answer.status for answer in answers].count(200)
    assert 1 == await sessions(db, alice.user)
    assert {"google_code_needed", "google_wrong_code", None} == set(await reasons(db, alice.user))


async def test_eight_with_one_proof_at_once_open_one_session(
    alice: Member, ann: Foreigner, worker: Worker, issuer: Issuer, db: Sql
) -> None:
    flow = await begun(worker)
    fields = proof(issuer, flow, ann)

    answers = await asyncio.gather(
        *(
            post(worker, None, "oauth.login", flow=flow.id, device=f"device-{n}", platform="ios", **fields)
            for n in range(8)
        )
    )

    assert {200: 1, 401: 7} == Counter(answer.status for answer in answers)
    assert 1 == await db.fetchval(
        "SELECT count(*) FROM auth.sessions WHERE user_id = $1 AND device_id LIKE 'device-_'", alice.user
    )


async def test_eight_who_go_on_with_one_proven_flow_open_one_session(
    alice: Member, worker: Worker, issuer: Issuer, db: Sql
) -> None:
    flow, person = await begun(worker), somebody()
    await post(worker, None, "oauth.login", flow=flow.id, **proof(issuer, flow, person), **PHONE)
    await db.execute(
        "INSERT INTO auth.oauth_providers (user_id, provider, provider_user_id) VALUES ($1, 'google', $2)",
        alice.user,
        person.subject,
    )

    answers = await asyncio.gather(
        *(post(worker, None, "oauth.login", flow=flow.id, device=f"device-{n}", platform="ios") for n in range(8))
    )

    assert {200: 1, 401: 7} == Counter(answer.status for answer in answers)


# What proves nothing


@pytest.mark.parametrize("provider", ["google", "apple"])
async def test_what_was_used_once_is_worth_nothing(
    provider: str, ask: Door, worker: Worker, issuer: Issuer, people: World, alice: Member
) -> None:
    person = somebody()
    await link(worker, issuer, alice, person, provider)
    flow, other = await begun(worker, provider), await begun(worker, provider)
    fields = proof(issuer, flow, person)
    await ask("oauth.login", flow=flow.id, **fields, **PHONE)

    replayed = [
        await ask("oauth.login", flow=flow.id, **fields, **PHONE),
        await ask("oauth.login", flow=flow.id, **PHONE),
        await ask("oauth.login", flow=other.id, **{**fields, "state": other.state}, **PHONE),
        await ask("oauth.begin", flow=flow.id, provider=provider, redirect_uri=REDIRECT),
    ]

    assert ["unauthenticated"] * 3 + ["id_conflict"] == [code_of(reply) for reply in replayed]


@every_provider
async def test_what_came_back_for_one_flow_is_no_good_in_another(
    provider: str, worker: Worker, issuer: Issuer, people: World, alice: Member
) -> None:
    """A thief has the token or the code and the state, and a flow of his own."""
    person = somebody()
    await link(worker, issuer, alice, person, provider)
    flow, of_thief = await begun(worker, provider), await begun(worker, provider)
    stolen = proof(issuer, flow, person)

    answers = [
        await post(worker, None, "oauth.login", flow=of_thief.id, **stolen, **PHONE),
        await post(
            worker, None, "oauth.login",
            flow=(await begun(worker, provider)).id, **{**stolen, "state": of_thief.state}, **PHONE,
        ),
        await post(worker, None, "oauth.login", flow=uuid7(), **stolen, **PHONE),
    ]  # fmt: skip
    third = await begun(worker, provider)
    stolen = proof(issuer, await begun(worker, provider), person)
    with_its_state = await post(worker, None, "oauth.login", flow=third.id, **{**stolen, "state": third.state}, **PHONE)

    assert ["unauthenticated"] * 4 == [code_of(answer.json) for answer in (*answers, with_its_state)]


def forged(header: dict[str, Any], claims: dict[str, Any], secret: bytes = b"") -> str:
    parts = [urlsafe_b64encode(json.dumps(each).encode()).rstrip(b"=") for each in (header, claims)]
    signature = hmac.new(secret, b".".join(parts), hashlib.sha256).digest() if secret else b""
    return b".".join([*parts, urlsafe_b64encode(signature).rstrip(b"=")]).decode()


def public_pem(issuer: Issuer) -> bytes:
    pem: bytes = issuer.keys[0].private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


MALLORY = Key("mallory", "RS256", rsa_key(99))

FORGERIES: dict[str, Callable[[Issuer, str, Foreigner], str]] = {
    "for another app": lambda i, n, p: i.token(n, p, aud="another-app"),
    "for us and another app": lambda i, n, p: i.token(n, p, aud=[CLIENT, "another-app"], azp=CLIENT),
    "for two of ours, by nobody": lambda i, n, p: i.token(n, p, aud=[CLIENT, OTHER_CLIENT]),
    "got by another app": lambda i, n, p: i.token(n, p, azp="another-app"),
    "of another issuer": lambda i, n, p: i.token(n, p, iss="https://accounts.example.org"),
    "of Apple": lambda i, n, p: i.token(n, p, iss="https://appleid.apple.com"),
    "with another nonce": lambda i, n, p: i.token(f"{n}x", p),
    "without a nonce": lambda i, _, p: i.token(None, p),
    "with a nonce that is no text": lambda i, n, p: i.token([n], p),
    "too old": lambda i, n, p: i.token(n, p, exp=int(time.time()) - 61),
    "without an end": lambda i, n, p: i.token(n, p, exp=None),
    "made before the flow": lambda i, n, p: i.token(n, p, iat=int(time.time()) - 120),
    "made in the future": lambda i, n, p: i.token(n, p, iat=int(time.time()) + 120),
    "not valid yet": lambda i, n, p: i.token(n, p, nbf=int(time.time()) + 120),
    "without iat": lambda i, n, p: i.token(n, p, iat=None),
    "about nobody": lambda i, n, p: i.token(n, p, sub=""),
    "about somebody too long": lambda i, n, p: i.token(n, p, sub="x" * 256),
    "about somebody with NUL": lambda i, n, p: i.token(n, p, sub="a\0b"),
    "with crit": lambda i, n, p: i.token(n, p, header={"crit": ["exp"]}),
    "with crit that the library knows": lambda i, n, p: i.token(n, p, header={"crit": ["b64"], "b64": True}),
    "an access token": lambda i, n, p: i.token(n, p, header={"typ": "at+jwt"}),
    "unsigned": lambda i, n, p: forged({"alg": "none", "kid": "rsa-1"}, i.claims(n, p)),
    "signed with the public key": lambda i, n, p: forged(
        {"alg": "HS256", "kid": "rsa-1"}, i.claims(n, p), public_pem(i)
    ),
    "with the other algorithm": lambda i, n, p: jwt.encode(
        i.claims(n, p), ec_key(1), "ES256", headers={"kid": "rsa-1"}
    ),
    "with another key under the name": lambda i, n, p: jwt.encode(
        i.claims(n, p), MALLORY.private, "RS256", headers={"kid": "rsa-1"}
    ),
    "with a key of its own": lambda i, n, p: jwt.encode(
        i.claims(n, p), MALLORY.private, "RS256", headers={"kid": "rsa-1", "jwk": MALLORY.jwk}
    ),
    "with the place of its key": lambda i, n, p: jwt.encode(
        i.claims(n, p), MALLORY.private, "RS256", headers={"kid": "mallory", "jku": f"{i.url}/mallory"}
    ),
    "with a key that nobody has": lambda i, n, p: i.token(n, p, header={"kid": "mallory"}),
    "with a key without a name": lambda i, n, p: i.token(n, p, header={"kid": ""}),
    "cut off": lambda i, n, p: i.token(n, p)[:-4],
    "changed": lambda i, n, p: ".".join(
        [*i.token(n, p).split(".")[:1], i.token(n, somebody()).split(".")[1], i.token(n, p).split(".")[2]]
    ),
    "no token": lambda *_: "a.b.c",
    "one part": lambda *_: "nonsense",
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
async def test_a_token_that_is_not_the_providers_for_us_and_now_opens_nothing(
    forge: Callable[[Issuer, str, Foreigner], str],
    alice: Member,
    ann: Foreigner,
    worker: Worker,
    issuer: Issuer,
    db: Sql,
) -> None:
    flow = await begun(worker)
    asked = issuer.asked["/mallory"]

    answer = await post(worker, None, "oauth.login", flow=flow.id, id_token=forge(issuer, flow.nonce, ann), **PHONE)

    assert (401, "unauthenticated", "rejected") == (
        answer.status,
        code_of(answer.json),
        answer.json["error"]["outcome"],
    )
    assert 0 == await sessions(db, alice.user)
    assert asked == issuer.asked["/mallory"]
    good = issuer.token(flow.nonce, ann)
    assert 401 == (await post(worker, None, "oauth.login", flow=flow.id, id_token=good, **PHONE)).status
    assert 0 < await db.fetchval("SELECT count(*) FROM auth.login_history WHERE failure_reason = 'google_refused'")


async def test_a_flow_that_is_too_old_takes_nothing(
    people: World, alice: Member, ann: Foreigner, worker: Worker, issuer: Issuer, db: Sql
) -> None:
    unproven, proven = await begun(worker), await begun(worker)
    await post(worker, None, "oauth.login", flow=proven.id, **proof(issuer, proven, somebody()), **PHONE)
    verification, code = await code_for(worker, people.phone())
    await db.execute("UPDATE auth.oauth_flows SET expires_at = now() WHERE id = ANY ($1)", [unproven.id, proven.id])

    answers = [
        await post(worker, None, "oauth.login", flow=unproven.id, **proof(issuer, unproven, ann), **PHONE),
        await post(
            worker, None, "oauth.register",
            flow=proven.id, verification=verification, code=code, name="Ann", **PHONE,
        ),
    ]  # fmt: skip

    assert [401, 401] == [answer.status for answer in answers]
    assert 0 == await db.fetchval("SELECT attempts FROM auth.otp_verifications WHERE id = $1", verification)


async def test_a_flow_that_is_begun_anew_after_it_was_forgotten_has_another_nonce(worker: Worker, db: Sql) -> None:
    flow = await begun(worker)
    await db.execute("DELETE FROM auth.oauth_flows WHERE id = $1", flow.id)

    again = await post(worker, None, "oauth.begin", flow=flow.id, provider="google", redirect_uri=REDIRECT)

    assert flow.nonce != again.json["ok"]["nonce"]


async def test_a_flow_is_its_beginners_and_for_what_it_was_begun(
    people: World, alice: Member, ann: Foreigner, worker: Worker, issuer: Issuer, db: Sql
) -> None:
    mallory, person = await member(people), somebody()
    to_log_in, to_link = await begun(worker), await connect(worker, mallory)
    of_alice = await connect(worker, alice, "github")

    answers = [
        await post(worker, alice.token, "oauth.link", flow=to_log_in.id, **proof(issuer, to_log_in, person)),
        await post(worker, alice.token, "oauth.link", flow=to_link.id, **proof(issuer, to_link, person)),
        await post(worker, mallory.token, "oauth.link", flow=of_alice.id, **proof(issuer, of_alice, person)),
        await post(worker, None, "oauth.login", flow=of_alice.id, **proof(issuer, of_alice, person), **PHONE),
        await post(worker, None, "oauth.begin", flow=of_alice.id, provider="github", redirect_uri=REDIRECT),
    ]

    assert ["bad_field"] * 3 + ["unauthenticated", "id_conflict"] == [code_of(answer.json) for answer in answers]
    assert 1 == await db.fetchval("SELECT count(*) FROM auth.oauth_providers WHERE user_id = $1", alice.user)
    assert 0 == await db.fetchval("SELECT count(*) FROM auth.oauth_providers WHERE user_id = $1", mallory.user)
    untouched = await post(worker, alice.token, "oauth.link", flow=of_alice.id, **proof(issuer, of_alice, person))
    assert 200 == untouched.status


async def test_no_token_is_good_at_the_entrance_of_another_kind(
    alice: Member, ann: Foreigner, worker: Worker, issuer: Issuer
) -> None:
    flow = await begun(worker)
    token = issuer.token(flow.nonce, ann)
    opened = (await log_in(worker, issuer, ann)).json["ok"]

    refused = [
        await post(worker, token, "conversation.list"),
        await post(worker, None, "token.refresh", refresh_token=token),
        await post(worker, None, "oauth.login", flow=flow.id, id_token=opened["token"], **PHONE),
        await post(
            worker, None, "oauth.login", flow=(await begun(worker)).id, id_token=opened["refresh_token"], **PHONE
        ),
    ]

    assert [401] * 4 == [answer.status for answer in refused]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"id_token": "a.b.c", "authorization_code": "c", "state": "s"}, "$.id_token"),
        ({"authorization_code": "c"}, "$.state"),
        ({"id_token": "a b"}, "$.id_token"),
        ({"id_token": "x" * 3073}, "$.id_token"),
        ({"authorization_code": "é", "state": "s"}, "$.authorization_code"),
    ],
)
async def test_bad_input_is_named_and_costs_no_flow(
    fields: dict[str, Any], field: str, ask: Door, worker: Worker, issuer: Issuer
) -> None:
    flow = await begun(worker)

    refused = await ask("oauth.login", flow=flow.id, **fields, **PHONE)

    assert ("bad_field", field) == (code_of(refused), refused["error"]["field"])
    assert "phone_needed" == code_of(await ask("oauth.login", flow=flow.id, **proof(issuer, flow, somebody()), **PHONE))


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"provider": "google", "redirect_uri": f"{REDIRECT}/"}, "bad_field", "$.redirect_uri"),
        ({"provider": "google", "redirect_uri": "https://mallory.example"}, "bad_field", "$.redirect_uri"),
        ({"provider": "github"}, "bad_field", "$.redirect_uri"),
        ({"provider": "myspace"}, "bad_field", "$.provider"),
    ],
)
async def test_people_are_sent_back_where_the_operator_says(
    fields: dict[str, Any], code: str, field: str, ask: Door
) -> None:
    refused = await ask("oauth.begin", flow=uuid7(), **fields)

    assert (code, field) == (code_of(refused), refused["error"]["field"])


async def test_who_begins_again_with_the_same_id_is_told_the_same(ask: Door) -> None:
    flow = uuid7()
    fields = {"flow": flow, "provider": "google", "redirect_uri": REDIRECT}

    first, second = await ask("oauth.begin", **fields), await ask("oauth.begin", **fields)
    other = await ask("oauth.begin", **{**fields, "provider": "github"})

    assert first["ok"] == second["ok"]
    assert "id_conflict" == code_of(other)


async def test_a_provider_that_is_not_configured_is_named(people: World) -> None:
    plain = await people.worker()

    answer = await post(plain, None, "oauth.begin", flow=uuid7(), provider="google")

    assert ("forbidden", True) == (code_of(answer.json), "ECHO_OAUTH" in answer.json["error"]["message"])


# Linking


@every_provider
async def test_who_links_an_identity_is_told_and_logs_in_by_it(
    provider: str, people: World, alice: Member, worker: Worker, issuer: Issuer
) -> None:
    person = somebody()

    linked = await link(worker, issuer, alice, person, provider)
    listed = await post(worker, alice.token, "oauth.list")
    opened = await log_in(worker, issuer, person, provider)

    assert {} == linked.json["ok"]
    (identity,) = listed.json["ok"]["identities"]
    assert provider == identity["provider"]
    assert identity.get("name") == (None if provider == "apple" else person.name)
    assert "identity_linked" == (await MAILBOX.notice(alice.phone)).purpose
    assert str(alice.user) == opened.json["ok"]["user"]


async def test_the_password_is_asked_for_and_counted(alice: Member, worker: Worker, db: Sql) -> None:
    fields = {"flow": uuid7(), "provider": "google", "redirect_uri": REDIRECT, "password": "wrong horse"}

    answers = [await post(worker, alice.token, "oauth.connect", **fields) for _ in range(6)]

    assert [400] * 5 + [429] == [answer.status for answer in answers]
    assert "$.password" == answers[0].json["error"]["field"]
    assert 5 == await db.fetchval("SELECT failed_login_attempts FROM auth.users WHERE id = $1", alice.user)


async def test_an_identity_belongs_to_one_user_and_a_user_has_one_of_each_provider(
    people: World, alice: Member, ann: Foreigner, worker: Worker, issuer: Issuer, db: Sql
) -> None:
    bob = await member(people)

    taken = await link(worker, issuer, bob, ann)
    full = await link(worker, issuer, alice, somebody())
    same = await link(worker, issuer, alice, ann)

    assert ["forbidden", "forbidden"] == [code_of(answer.json) for answer in (taken, full)]
    assert {} == same.json["ok"]
    assert 0 == await db.fetchval("SELECT count(*) FROM auth.oauth_providers WHERE user_id = $1", bob.user)
    assert 1 == await db.fetchval("SELECT count(*) FROM auth.oauth_providers WHERE user_id = $1", alice.user)


async def test_eight_identities_at_once_for_one_user_are_one_and_one_for_eight_users_too(
    people: World, worker: Worker, issuer: Issuer, db: Sql
) -> None:
    alice, ann, wide = await member(people), somebody(), await people.worker(pool_size=8, **issuer.settings())
    flows = [await connect(worker, alice) for _ in range(5)]
    others = [await member(people) for _ in range(8)]
    of_others = [await connect(worker, other) for other in others]

    for_one = await asyncio.gather(
        *(post(wide, alice.token, "oauth.link", flow=f.id, **proof(issuer, f, somebody())) for f in flows)
    )
    for_eight = await asyncio.gather(
        *(
            post(wide, other.token, "oauth.link", flow=f.id, **proof(issuer, f, ann))
            for other, f in zip(others, of_others, strict=True)
        )
    )

    assert {200: 1, 403: 4} == Counter(answer.status for answer in for_one)
    assert {200: 1, 403: 7} == Counter(answer.status for answer in for_eight)
    assert 1 == await db.fetchval("SELECT count(*) FROM auth.oauth_providers WHERE user_id = $1", alice.user)


async def test_who_links_waits_for_what_else_is_linked_to_the_user(
    alice: Member, worker: Worker, issuer: Issuer, db: Sql
) -> None:
    flow = await connect(worker, alice, "github")
    fields = proof(issuer, flow, somebody())

    async with db.transaction():
        await db.execute("SELECT FROM auth.users WHERE id = $1 FOR NO KEY UPDATE", alice.user)
        linked = asyncio.create_task(post(worker, alice.token, "oauth.link", flow=flow.id, **fields))
        await until(lambda: db.fetchval("SELECT count(*) = 1 FROM pg_locks WHERE NOT granted"))
        await db.execute(
            "INSERT INTO auth.oauth_providers (user_id, provider, provider_user_id) VALUES ($1, 'github', $2)",
            alice.user,
            uuid4().hex,
        )

    assert 403 == (await linked).status


async def test_a_thief_whom_a_new_password_threw_out_meanwhile_links_nothing(
    people: World, alice: Member, own_issuer: Issuer, db: Sql
) -> None:
    """The provider may take its time to answer, and an identity is a way in that no password closes."""
    worker, thief = await people.worker(**own_issuer.settings(), oauth_deadline_s=30), somebody()
    of_the_thief = alice._replace(token=await people.token(alice.user))
    flow = await connect(worker, of_the_thief, "github")
    back = proof(own_issuer, flow, thief)
    own_issuer.answers.clear()
    linking = asyncio.create_task(post(worker, of_the_thief.token, "oauth.link", flow=flow.id, **back))
    await until(lambda: db.fetchval("SELECT claimed_at FROM auth.oauth_flows WHERE id = $1", flow.id))
    changed = await post(worker, alice.token, "password.change", password=PASSWORD, new_password="another horse")
    own_issuer.answers.set()

    assert 200 == changed.status
    assert 200 != (await linking).status
    assert "phone_needed" == code_of((await log_in(worker, own_issuer, thief, "github")).json)


async def test_eight_with_one_flow_to_link_at_once_link_once(
    people: World, alice: Member, worker: Worker, issuer: Issuer
) -> None:
    flow = await connect(worker, alice)
    fields = proof(issuer, flow, somebody())

    answers = await asyncio.gather(*(post(worker, alice.token, "oauth.link", flow=flow.id, **fields) for _ in range(8)))

    assert {200: 1, 400: 7} == Counter(answer.status for answer in answers)


async def test_who_unlinks_logs_in_by_it_no_longer_and_all_other_sessions_end(
    alice: Member, ann: Foreigner, worker: Worker, issuer: Issuer
) -> None:
    opened = (await log_in(worker, issuer, ann)).json["ok"]
    async with line(worker, opened["token"]) as other:
        await other.hear("hello")

        wrong = await post(worker, alice.token, "oauth.unlink", provider="google", password="wrong horse")
        done = await post(worker, alice.token, "oauth.unlink", provider="google", password=PASSWORD)
        again = await post(worker, alice.token, "oauth.unlink", provider="google", password=PASSWORD)

        assert 4500 == await other.close_code()
    assert ["$.password", {}, {}] == [wrong.json["error"]["field"], done.json["ok"], again.json["ok"]]
    assert await may(worker, alice.token)
    assert 401 == (await post(worker, None, "token.refresh", refresh_token=opened["refresh_token"])).status
    assert "phone_needed" == code_of((await log_in(worker, issuer, ann)).json)
    assert {"identities": []} == (await post(worker, alice.token, "oauth.list")).json["ok"]


async def test_who_has_no_password_sets_one_before_the_last_way_in_goes(
    people: World, worker: Worker, issuer: Issuer
) -> None:
    flow, person, phone = await begun(worker), somebody(), people.phone()
    await post(worker, None, "oauth.login", flow=flow.id, **proof(issuer, flow, person), **PHONE)
    verification, code = await code_for(worker, phone)
    made = await post(
        worker, None, "oauth.register", flow=flow.id, verification=verification, code=code, name="Ann", **PHONE
    )
    token = made.json["ok"]["token"]

    refused = await post(worker, token, "oauth.unlink", provider="google", password="!")

    assert "$.password" == refused.json["error"]["field"]
    assert (
        401
        == (
            await post(worker, None, "account.login", phone=phone, password="!", device="alices-phone", platform="ios")
        ).status
    )
    assert 200 == (await log_in(worker, issuer, person)).status


async def test_a_login_that_meets_an_unlink_opens_nothing(
    alice: Member, ann: Foreigner, worker: Worker, issuer: Issuer, db: Sql
) -> None:
    flow = await begun(worker)

    async with db.transaction():
        await db.execute("DELETE FROM auth.oauth_providers WHERE user_id = $1", alice.user)
        login = asyncio.create_task(
            post(worker, None, "oauth.login", flow=flow.id, **proof(issuer, flow, ann), **PHONE)
        )
        await until(lambda: db.fetchval("SELECT count(*) = 1 FROM pg_locks WHERE NOT granted"))

    assert 401 == (await login).status
    assert 0 == await sessions(db, alice.user)


# Providers that are away, slow, broken, or turn their keys


async def test_keys_that_are_turned_are_found_and_a_flood_of_forged_ones_asks_once(
    people: World, own_issuer: Issuer
) -> None:
    own = await people.worker(**own_issuer.settings())
    await log_in(own, own_issuer, somebody(), "apple")
    own_issuer.rotate()

    turned = await log_in(own, own_issuer, somebody(), "apple")
    flows = [await begun(own, "apple") for _ in range(20)]
    flood = await asyncio.gather(
        *(
            post(
                own, None, "oauth.login",
                flow=flow.id, id_token=own_issuer.token(flow.nonce, somebody(), header={"kid": f"k{n}"}), **PHONE,
            )
            for n, flow in enumerate(flows)
        )
    )  # fmt: skip

    assert "phone_needed" == code_of(turned.json)
    assert {"unauthenticated": 20} == Counter(code_of(answer.json) for answer in flood)
    assert 2 == own_issuer.asked["/keys"]


async def test_eight_who_come_first_ask_for_the_keys_once(people: World, own_issuer: Issuer) -> None:
    own = await people.worker(**own_issuer.settings())

    answers = await asyncio.gather(*(log_in(own, own_issuer, somebody(), "apple") for _ in range(8)))

    assert {"phone_needed": 8} == Counter(code_of(answer.json) for answer in answers)
    assert 1 == own_issuer.asked["/keys"]


@every_provider
@pytest.mark.parametrize(
    "broken",
    [
        (500, b"{}"),
        (429, b"{}"),
        (302, b"{}"),
        (200, b"nonsense"),
        (200, b"[]"),
        (200, b'{"keys": [], "x": "' + b"x" * 300_000 + b'"}'),
    ],
    ids=["down", "busy", "elsewhere", "no JSON", "no object", "too much"],
)
async def test_while_a_provider_is_broken_the_client_tries_again_with_the_same_flow(
    provider: str, broken: tuple[int, bytes], people: World, own_issuer: Issuer, logged: io.StringIO
) -> None:
    own = await people.worker(**own_issuer.settings())
    flow = await begun(own, provider)
    fields = proof(own_issuer, flow, somebody())
    own_issuer.broken = broken

    answers = [await post(own, None, "oauth.login", flow=flow.id, **fields, **PHONE) for _ in range(2)]

    assert [(503, "busy", "retry")] * 2 == [
        (answer.status, code_of(answer.json), answer.json["error"]["outcome"]) for answer in answers
    ]
    assert 0 < answers[0].json["error"]["retry_after_ms"]
    assert "command_failed" not in logged.getvalue()


@every_provider
@pytest.mark.parametrize(
    "refusal",
    [
        (400, b'{"error": "invalid_grant"}'),
        (200, b'{"error": {"message": ["Invalid verification code"]}}'),
        (401, b"<html>"),
        (200, b'{"access_token": 1, "id_token": ["a"], "id": true, "keys": [1]}'),
    ],
    ids=["refused", "refused with 200", "no JSON", "nonsense"],
)
async def test_what_a_provider_says_no_to_is_refused_and_the_flow_is_over(
    provider: str, refusal: tuple[int, bytes], people: World, own_issuer: Issuer, logged: io.StringIO
) -> None:
    own = await people.worker(**own_issuer.settings())
    await log_in(own, own_issuer, somebody(), "apple")
    flow = await begun(own, provider)
    fields = proof(own_issuer, flow, somebody())
    own_issuer.broken = refusal

    answers = [await post(own, None, "oauth.login", flow=flow.id, **fields, **PHONE) for _ in range(2)]

    expected = "phone_needed" if provider == "apple" else "unauthenticated"  # Apple is not asked
    assert [expected, "unauthenticated"] == [code_of(answer.json) for answer in answers]
    assert "command_failed" not in logged.getvalue()


async def test_a_provider_that_was_away_is_believed_when_it_is_back(
    people: World, alice: Member, own_issuer: Issuer
) -> None:
    own, person = await people.worker(**own_issuer.settings()), somebody()
    await link(own, own_issuer, alice, person, "github")
    flow = await begun(own, "github")
    fields = proof(own_issuer, flow, person)
    good, own_issuer._codes = own_issuer._codes, {}
    own_issuer.broken = (503, b"")
    away = await post(own, None, "oauth.login", flow=flow.id, **fields, **PHONE)
    own_issuer.broken, own_issuer._codes = None, good

    back = await post(own, None, "oauth.login", flow=flow.id, **fields, **PHONE)

    assert [503, 200] == [away.status, back.status]


async def test_nobody_listens_or_answers_and_the_client_is_told_in_time(people: World, own_issuer: Issuer) -> None:
    hurried = await people.worker(**own_issuer.settings(), oauth_deadline_s=0.2)
    flow, late = await begun(hurried, "github"), await begun(hurried, "apple")
    own_issuer.answers.clear()

    answers = await asyncio.gather(
        post(hurried, None, "oauth.login", flow=flow.id, **proof(own_issuer, flow, somebody()), **PHONE),
        post(hurried, None, "oauth.login", flow=late.id, **proof(own_issuer, late, somebody()), **PHONE),
    )
    own_issuer.close()
    gone = await begun(hurried, "github")
    nobody = await post(hurried, None, "oauth.login", flow=gone.id, **proof(own_issuer, gone, somebody()), **PHONE)

    assert [503] * 3 == [answer.status for answer in (*answers, nobody)]


async def test_no_more_than_sixteen_requests_are_under_way(people: World, own_issuer: Issuer) -> None:
    own = await people.worker(**own_issuer.settings(), oauth_deadline_s=30)
    flows = [await begun(own, "github") for _ in range(20)]
    own_issuer.answers.clear()

    waiting = [
        asyncio.create_task(
            post(own, None, "oauth.login", flow=flow.id, **proof(own_issuer, flow, somebody()), **PHONE)
        )
        for flow in flows
    ]

    async def are_four_refused() -> bool:
        return [each.done() for each in waiting].count(True) == 4

    await until(are_four_refused)
    own_issuer.answers.set()
    answers = [await each for each in waiting]

    assert {"busy": 4, "phone_needed": 16} == Counter(code_of(answer.json) for answer in answers)


async def test_a_code_goes_to_the_provider_with_the_verifier_and_once(people: World, own_issuer: Issuer) -> None:
    own = await people.worker(**own_issuer.settings())
    flow = await begun(own, "github")
    fields = proof(own_issuer, flow, somebody())

    answers = await asyncio.gather(*(post(own, None, "oauth.login", flow=flow.id, **fields, **PHONE) for _ in range(8)))

    assert 1 == own_issuer.asked["/token"]
    assert {"phone_needed", "unauthenticated"} >= {code_of(answer.json) for answer in answers}
    (told,) = own_issuer.told
    assert 43 == len(told["code_verifier"])
    assert told["code_verifier"] not in flow.page


async def test_a_code_with_another_state_is_not_even_asked_about(people: World, own_issuer: Issuer) -> None:
    own = await people.worker(**own_issuer.settings())
    flow = await begun(own, "github")
    fields = {**proof(own_issuer, flow, somebody()), "state": (await begun(own, "github")).state}

    answer = await post(own, None, "oauth.login", flow=flow.id, **fields, **PHONE)

    assert "unauthenticated" == code_of(answer.json)
    assert 0 == own_issuer.asked["/token"]


async def test_an_address_comes_so_often_a_minute(people: World, own_issuer: Issuer) -> None:
    stingy = await people.worker(**own_issuer.settings(), strangers_per_min=2, trusted_networks=())
    flow = await begun(stingy, "github")
    fields = proof(own_issuer, flow, somebody())

    answers = [await post(stingy, None, "oauth.login", flow=flow.id, **fields, **PHONE) for _ in range(2)]

    assert ["phone_needed", "rate_limited"] == [code_of(answer.json) for answer in answers]


async def test_nothing_secret_is_logged_or_kept(
    people: World, own_issuer: Issuer, logged: io.StringIO, db: Sql
) -> None:
    own, secrets = await people.worker(**own_issuer.settings()), []
    for provider in PROVIDERS:
        for _ in range(2):
            flow, person = await begun(own, provider), somebody()
            fields = proof(own_issuer, flow, person)
            await post(own, None, "oauth.login", flow=flow.id, **fields, **PHONE)
            secrets += [*fields.values(), flow.nonce, str(flow.id), person.subject]
        bad = {**proof(own_issuer, flow, person), "state": "nonsense"}
        await post(own, None, "oauth.login", flow=(await begun(own, provider)).id, **bad, **PHONE)
        secrets += [value for name, value in bad.items() if name != "state"]
    own_issuer.broken = (500, b"")
    flow = await begun(own, "facebook")
    await post(own, None, "oauth.login", flow=flow.id, **proof(own_issuer, flow, person), **PHONE)
    proofs = [hmac.new(SECRET.encode(), token.encode(), hashlib.sha256).hexdigest() for token in own_issuer._tokens]
    secrets += [SECRET, *proofs, *own_issuer._tokens, *(told["code_verifier"] for told in own_issuer.told)]

    said = logged.getvalue()
    kept = str(
        [
            tuple(row)
            for row in await db.fetch(
                "SELECT provider, provider_email, profile_data, redirect_uri FROM auth.oauth_flows"
            )
        ]
    )

    assert "proof_refused" in said
    assert "provider_not_asked" in said
    assert [] == [secret for secret in secrets if secret in said or secret in kept]
