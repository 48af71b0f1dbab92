"""What a client proves itself with.

A session token is 32 random bytes; the database knows its digest only. An access token is a JWT (RFC 9068) that names
a session and ends after minutes. Its key is found by key id among ours, and the algorithm belongs to the key: nothing
in a token chooses either.
"""

import hashlib
import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import jwt
from jwt.algorithms import get_default_algorithms

from .config import ConfigError, JwtKey

AUDIENCE = "echo"
TYPE = "at+jwt"
LIFETIME = timedelta(minutes=10)
LEEWAY = timedelta(seconds=30)
LONGEST = 2048
_REQUIRED = ["exp", "iat", "sub", "aud", "iss", "jti", "sid"]
_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,32}\Z")


class AccessToken(NamedTuple):
    """What a good access token says. Whether the session still stands, the database knows."""

    user: UUID
    session: UUID
    expires_at: datetime


class BadToken(Exception):
    """The access token is not good; why is nobody's business."""


def new_session_token() -> str:
    return secrets.token_urlsafe(32)


def digest(token: str) -> str:
    """Return what the database keeps of a session token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def is_access_token(token: str) -> bool:
    """Tell the two kinds apart: session tokens have no dots."""
    return "." in token


class AccessTokens:
    """Signs and verifies with the keys of the configuration; the first key that can sign does."""

    def __init__(self, keys: Mapping[str, JwtKey], issuer: str) -> None:
        self.rekey(keys)
        self._issuer = issuer

    def rekey(self, keys: Mapping[str, JwtKey]) -> None:
        """Go on with other keys; those before stay where one of these is no good, which is a ``ConfigError``."""
        self._keys = {key_id: (key.alg, _prepared(key_id, key)) for key_id, key in keys.items()}

    @property
    def can_sign(self) -> bool:
        return any(_can_sign(key) for _, key in self._keys.values())

    def sign(self, session: UUID, user: UUID, now: datetime) -> str:
        """Return a token that is good for ten minutes from ``now``."""
        key_id = next((key_id for key_id, (_, key) in self._keys.items() if _can_sign(key)), None)
        if key_id is None:
            raise ConfigError("ECHO_JWT_KEYS: access tokens need a key that can sign")
        alg, key = self._keys[key_id]
        claims = {
            "iss": self._issuer,
            "aud": AUDIENCE,
            "sub": str(user),
            "sid": str(session),
            "jti": secrets.token_urlsafe(12),
            "iat": now,
            "exp": now + LIFETIME,
        }
        return jwt.encode(claims, key, algorithm=alg, headers={"kid": key_id, "typ": TYPE})

    def verify(self, token: str) -> AccessToken:
        """Return what the token says, or raise ``BadToken`` and nothing else."""
        try:
            return self._verify(token)
        except (jwt.PyJWTError, ValueError, TypeError, AttributeError, OverflowError, RecursionError):
            raise BadToken from None

    def _verify(self, token: str) -> AccessToken:
        if len(token) > LONGEST or not token.isascii():
            raise BadToken
        header = jwt.get_unverified_header(token)
        key_id = header.get("kid")
        if not isinstance(key_id, str) or not _KEY_ID.match(key_id) or key_id not in self._keys:
            raise BadToken
        if "crit" in header or header.get("typ") != TYPE:
            raise BadToken
        alg, key = self._keys[key_id]
        claims = jwt.decode(
            token,
            key,
            algorithms=[alg],
            audience=AUDIENCE,
            issuer=self._issuer,
            leeway=LEEWAY,
            options={"require": _REQUIRED},
        )
        return AccessToken(
            user=UUID(claims["sub"]),
            session=UUID(claims["sid"]),
            expires_at=datetime.fromtimestamp(claims["exp"], UTC),
        )


def _prepared(key_id: str, key: JwtKey) -> Any:
    """Return the key as the library wants it; refuse one that does not fit its algorithm."""
    try:
        prepared = get_default_algorithms()[key.alg].prepare_key(key.key)
    except (jwt.PyJWTError, ValueError, TypeError):
        prepared = None
    if prepared is None or (key.alg == "EdDSA" and "Ed25519" not in type(prepared).__name__):
        wanted = "an Ed25519 key as PEM" if key.alg == "EdDSA" else "a secret, and no PEM"
        raise ConfigError(f"ECHO_JWT_KEYS: key {key_id}: expected {wanted}")
    return prepared


def _can_sign(key: Any) -> bool:
    return isinstance(key, bytes) or hasattr(key, "sign")
