"""ID tokens of OpenID Connect: what a provider signed about somebody. Pure.

A key is found by key id among those that the provider publishes, and its algorithm is the key's own, one of those that
the configuration names: nothing in a token chooses either, brings a key or says where there is one.
"""

import hmac
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import jwt
from jwt.algorithms import get_default_algorithms

LEEWAY = timedelta(seconds=60)
"""By how much clocks may differ."""

MOST_KEYS = 50
_REQUIRED = ["exp", "iat", "sub", "aud", "iss", "nonce"]
_ALGORITHMS = {"RSA": "RS256", "EC": "ES256"}
_SHORTEST_BITS = {"RS256": 2048, "ES256": 256}
_BROKEN = (jwt.PyJWTError, ValueError, TypeError, AttributeError, OverflowError, RecursionError)


class BadIdToken(Exception):
    """The token is not good; the log is told why, the client is not."""


class PublicKey(NamedTuple):
    alg: str
    key: Any


class Expected(NamedTuple):
    """What a token must say."""

    issuers: tuple[str, ...]
    client_ids: tuple[str, ...]
    nonce: str
    begun_at: datetime
    """When the flow began: an older token was made for another one."""


def public_keys(key_set: Mapping[str, Any], algorithms: tuple[str, ...]) -> dict[str, PublicKey]:
    """Return the keys of a JWKS by which we verify; what is of another kind, or broken, is left out."""
    listed = key_set.get("keys")
    found: dict[str, PublicKey] = {}
    for jwk in listed[:MOST_KEYS] if isinstance(listed, list) else ():
        key = _public_key(jwk, algorithms) if isinstance(jwk, dict) else None
        if key and isinstance(jwk.get("kid"), str):
            found.setdefault(jwk["kid"], key)
    return found


def _public_key(jwk: dict[str, Any], algorithms: tuple[str, ...]) -> PublicKey | None:
    alg = _ALGORITHMS.get(str(jwk.get("kty")))
    is_ours = alg in algorithms and jwk.get("alg", alg) == alg and jwk.get("use", "sig") == "sig" and "d" not in jwk
    if alg is None or not is_ours or (alg == "ES256" and jwk.get("crv") != "P-256"):
        return None
    try:
        key = get_default_algorithms()[alg].from_jwk(jwk)
    except _BROKEN:
        return None
    return PublicKey(alg, key) if key.key_size >= _SHORTEST_BITS[alg] else None


def key_id(token: str) -> str:
    """Return which key a token names, or raise ``BadIdToken``."""
    try:
        header = jwt.get_unverified_header(token)
    except _BROKEN:
        raise BadIdToken("no token") from None
    kid = header.get("kid")
    if "crit" in header or str(header.get("typ", "JWT")).upper() != "JWT" or not isinstance(kid, str):
        raise BadIdToken("header")
    return kid


def verify(token: str, key: PublicKey, expected: Expected) -> dict[str, Any]:
    """Return what a token says that the provider made for us and for this flow, or raise ``BadIdToken``."""
    try:
        claims = jwt.decode(
            token,
            key.key,
            algorithms=[key.alg],
            audience=expected.client_ids,
            issuer=expected.issuers,
            leeway=LEEWAY,
            options={"require": _REQUIRED},
        )
        _check(claims, expected)
    except _BROKEN as error:
        raise BadIdToken(type(error).__name__) from None
    return claims


def _check(claims: Mapping[str, Any], expected: Expected) -> None:
    """Look at what the library does not: that nobody else is meant, and that the token belongs to this flow."""
    aud, azp = claims["aud"], claims.get("azp")
    audience = [aud] if isinstance(aud, str) else aud
    if not set(audience) <= set(expected.client_ids) or (len(audience) > 1 and azp is None):
        raise BadIdToken("aud")
    if azp is not None and azp not in expected.client_ids:
        raise BadIdToken("azp")
    if not isinstance(claims["nonce"], str) or not hmac.compare_digest(
        claims["nonce"].encode("utf-8", "surrogatepass"), expected.nonce.encode()
    ):
        raise BadIdToken("nonce")
    if claims["iat"] < (expected.begun_at - LEEWAY).timestamp():
        raise BadIdToken("iat")
