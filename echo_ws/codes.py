"""Codes and tokens made with the server's key, and what people are told of them. Pure.

The database keeps digests only: of a code one that needs the key, as there are but a million codes.
"""

import base64
import hashlib
import hmac
import secrets
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from echo_ws_db.verifications import Purpose

from .senders import Notice

LASTS_S: Final = 300
"""Seconds that a code is good for."""

_FOR: dict[Purpose, str] = {
    "registration": "to register",
    "login": "to log in",
    "password_reset": "for a new password",
    "phone_change": "to use this number",
    "email_verification": "to use this address",
    "account_deletion": "to delete your account for good",
}


def new_code() -> str:
    return f"{secrets.randbelow(10**6):06}"


def code_digest(key: str, verification: UUID, purpose: str, code: str) -> str:
    """Return what the database keeps of a code: it fits one verification for one purpose."""
    return _keyed(key, "code", str(verification), purpose, code).hex()


class Successors(NamedTuple):
    """What a refresh token leads to, the same each time: an answer that was lost can be given again."""

    session: str
    refresh: str


def successors(key: str, refresh_token: str) -> Successors:
    return Successors(*(_text(_keyed(key, label, refresh_token)) for label in ("session", "refresh")))


class FlowSecrets(NamedTuple):
    """What goes to a provider with somebody and must come back, or fit what comes back."""

    state: str
    nonce: str
    verifier: str
    """Of PKCE: its digest goes with the browser, it itself from us with the code."""

    @property
    def challenge(self) -> str:
        return _text(hashlib.sha256(self.verifier.encode()).digest())


def flow_secrets(key: str, flow: UUID, begun_at: datetime) -> FlowSecrets:
    """Return a flow's secrets, the same each time; one of the same id that is begun later has others."""
    about = (str(flow), begun_at.isoformat())
    return FlowSecrets(*(_text(_keyed(key, "oauth", label, *about)) for label in FlowSecrets._fields))


def notice(verification: UUID, purpose: Purpose, to: str, code: str, *, is_taken: bool) -> Notice | None:
    """Return what a number or address is told of a code that was asked for; None where there is nothing to tell."""
    id_ = str(verification)
    if purpose == "registration" and is_taken:
        text = "This number has an account already: log in, or ask for a new password. If it was not you, do nothing."
        return Notice(id_, to, "already_registered", text)
    is_for_free = purpose in {"registration", "phone_change", "email_verification"}
    if is_for_free == is_taken:
        return None
    text = f"{code} is your code {_FOR[purpose]}. It is good for 5 minutes. Tell it to nobody."
    return Notice(id_, to, purpose, text, code)


def farewell(verification: UUID, phone: str) -> Notice:
    """Return what the number is told that an account had before."""
    text = "Your account has another phone number from now on. If it was not you, ask the operator for help at once."
    return Notice(str(verification), phone, "phone_changed", text)


def link_notice(flow: UUID, phone: str, provider: str) -> Notice:
    """Return what a number is told when its account can be entered in another way."""
    text = f"{provider.title()} lets you into your account from now on. If it was not you, set a new password at once."
    return Notice(str(flow), phone, "identity_linked", text)


def _keyed(key: str, *parts: str) -> bytes:
    return hmac.new(key.encode(), "\0".join(parts).encode(), hashlib.sha256).digest()


def _text(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
