import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from echo_ws import tokens
from echo_ws.config import ConfigError, JwtKey
from echo_ws.tokens import AccessToken, AccessTokens, BadToken

SECRET = "a secret of more than 32 bytes for tests"
OLD_SECRET = "another secret of more than 32 bytes, older"
ED25519 = Ed25519PrivateKey.generate()
PRIVATE_PEM = ED25519.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
PUBLIC_PEM = ED25519.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

USER, SESSION = uuid4(), uuid4()
NOW = datetime.now(UTC).replace(microsecond=0)


def hs256(secret: str = SECRET) -> JwtKey:
    return JwtKey(alg="HS256", key=secret)


def eddsa(pem: str) -> JwtKey:
    return JwtKey(alg="EdDSA", key=pem)


@pytest.fixture
def access_tokens() -> AccessTokens:
    return AccessTokens({"a": hs256(), "ed": eddsa(PUBLIC_PEM)}, "issuer")


def good_header(**changes: Any) -> dict[str, Any]:
    return {"alg": "HS256", "typ": "at+jwt", "kid": "a"} | changes


def good_claims(**changes: Any) -> dict[str, Any]:
    claims = {
        "iss": "issuer",
        "aud": "echo",
        "sub": str(USER),
        "sid": str(SESSION),
        "jti": "1",
        "iat": int(NOW.timestamp()),
        "exp": int(NOW.timestamp()) + 600,
    } | changes
    return {name: value for name, value in claims.items() if value is not None}


def forged(header: dict[str, Any], claims: dict[str, Any], secret: str = SECRET, hash_: str = "sha256") -> str:
    """Sign by hand what the library would refuse to."""
    body = b".".join(_base64(json.dumps(part).encode()) for part in (header, claims))
    return (body + b"." + _base64(hmac.digest(secret.encode(), body, hash_))).decode()


def _base64(raw: bytes) -> bytes:
    return urlsafe_b64encode(raw).rstrip(b"=")


def test_session_tokens_are_long_random_and_stored_as_a_digest() -> None:
    token = tokens.new_session_token()

    assert len(token) >= 43
    assert token != tokens.new_session_token()
    assert tokens.digest(token) == hashlib.sha256(token.encode()).hexdigest()


def test_the_two_kinds_of_token_can_be_told_apart(access_tokens: AccessTokens) -> None:
    assert not tokens.is_access_token(tokens.new_session_token())
    assert tokens.is_access_token(access_tokens.sign(SESSION, USER, NOW))


@pytest.mark.parametrize("key", [hs256(), eddsa(PRIVATE_PEM)], ids=["HS256", "EdDSA"])
def test_a_token_says_whose_it_is_and_when_it_ends(key: JwtKey) -> None:
    access_tokens = AccessTokens({"2026-a": key}, "issuer")

    token = access_tokens.sign(SESSION, USER, NOW)

    assert AccessToken(USER, SESSION, NOW + timedelta(minutes=10)) == access_tokens.verify(token)


def test_a_token_forged_by_hand_but_right_in_all_is_good(access_tokens: AccessTokens) -> None:
    """The baseline of the forgeries below: each differs from this in one thing."""
    assert access_tokens.verify(forged(good_header(), good_claims())).user == USER


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "HS512"},
        {"alg": "EdDSA"},
        {"kid": "b"},
        {"kid": None},
        {"kid": ["a"]},
        {"kid": "../a"},
        {"kid": "a" * 33},
        {"typ": "JWT"},
        {"typ": "refresh+jwt"},
        {"typ": None},
        {"crit": ["exp"]},
        {"crit": ["b64"], "b64": True},
    ],
    ids=str,
)
def test_a_token_with_a_wrong_header_is_bad(access_tokens: AccessTokens, header: dict[str, Any]) -> None:
    with pytest.raises(BadToken):
        access_tokens.verify(forged(good_header(**header), good_claims()))


def test_a_token_of_another_algorithm_is_bad_though_the_secret_is_right(access_tokens: AccessTokens) -> None:
    with pytest.raises(BadToken):
        access_tokens.verify(forged(good_header(alg="HS512"), good_claims(), hash_="sha512"))


def test_an_unsigned_token_is_bad(access_tokens: AccessTokens) -> None:
    unsigned = forged(good_header(alg="none"), good_claims()).rpartition(".")[0] + "."

    with pytest.raises(BadToken):
        access_tokens.verify(unsigned)


@pytest.mark.parametrize(
    "claims",
    [
        *({name: None} for name in good_claims()),
        {"aud": "other"},
        {"iss": "other"},
        {"exp": int(NOW.timestamp()) - 40},
        {"iat": int(NOW.timestamp()) + 3600},
        {"nbf": int(NOW.timestamp()) + 3600},
        {"sub": "me"},
        {"sub": 1},
        {"sid": ["x"]},
        {"exp": "soon"},
        {"exp": 1e300},
    ],
    ids="-".join,  # no times in the names: workers collect them apart
)
def test_a_token_with_a_missing_or_wrong_claim_is_bad(access_tokens: AccessTokens, claims: dict[str, Any]) -> None:
    with pytest.raises(BadToken):
        access_tokens.verify(forged(good_header(), good_claims(**claims)))


def test_a_key_that_the_token_brings_along_is_ignored(access_tokens: AccessTokens) -> None:
    header = good_header(jku="https://evil.example/keys", jwk={"kty": "oct", "k": "ZXZpbA"}, x5u="https://evil.example")

    with pytest.raises(BadToken):
        access_tokens.verify(forged(header, good_claims(), secret="the secret of somebody else, 32 bytes"))


@pytest.mark.parametrize("alg", ["HS256", "EdDSA"])
def test_a_public_key_is_no_hmac_secret(access_tokens: AccessTokens, alg: str) -> None:
    with pytest.raises(BadToken):
        access_tokens.verify(forged(good_header(kid="ed", alg=alg), good_claims(), secret=PUBLIC_PEM))


def test_an_oversized_token_is_bad(access_tokens: AccessTokens) -> None:
    token = forged(good_header(), good_claims(more="x" * 1500))

    assert len(token) > 2048
    with pytest.raises(BadToken):
        access_tokens.verify(token)


def test_a_changed_signature_is_bad(access_tokens: AccessTokens) -> None:
    head, signature = access_tokens.sign(SESSION, USER, NOW).rsplit(".", 1)

    with pytest.raises(BadToken):
        access_tokens.verify(f"{head}.{signature[::-1]}")


@given(st.one_of(st.text(), st.binary().map(lambda raw: f"{_base64(raw).decode()}.e30.e30")))
def test_nothing_but_bad_token_is_raised(token: str) -> None:
    with pytest.raises(BadToken):
        AccessTokens({"a": hs256()}, "issuer").verify(token)


def test_deep_nesting_is_bad(access_tokens: AccessTokens) -> None:
    with pytest.raises(BadToken):
        access_tokens.verify(f"{_base64(b'[' * 1500).decode()}.e30.e30")


def test_the_first_key_that_can_sign_does_and_the_old_one_still_verifies() -> None:
    before = AccessTokens({"old": hs256(OLD_SECRET)}, "issuer")
    after = AccessTokens({"public": eddsa(PUBLIC_PEM), "new": hs256(), "old": hs256(OLD_SECRET)}, "issuer")
    token = before.sign(SESSION, USER, NOW)

    assert after.verify(token).session == SESSION
    with pytest.raises(BadToken):
        before.verify(after.sign(SESSION, USER, NOW))


def test_without_a_key_that_can_sign_the_error_names_the_setting() -> None:
    with pytest.raises(ConfigError, match="ECHO_JWT_KEYS"):
        AccessTokens({"public": eddsa(PUBLIC_PEM)}, "issuer").sign(SESSION, USER, NOW)


@pytest.mark.parametrize(
    "key",
    [
        eddsa(SECRET),
        hs256(PUBLIC_PEM),
        eddsa(
            generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        ),
    ],
    ids=["no PEM", "PEM as secret", "wrong curve"],
)
def test_a_key_that_does_not_fit_its_algorithm_is_refused_by_name(key: JwtKey) -> None:
    with pytest.raises(ConfigError, match="ECHO_JWT_KEYS: key 2026-a: expected"):
        AccessTokens({"2026-a": key}, "issuer")
