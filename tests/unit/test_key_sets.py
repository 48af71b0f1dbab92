"""When the keys of a provider are asked for, and how long they are used; the clock is turned by hand."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from echo_ws.id_tokens import public_keys
from echo_ws.key_sets import BETWEEN_MISSES_S, FRESH_S, PAUSE_S, STALE_S, KeySet
from echo_ws.web import Web, WebError
from tests.support.issuer import Issuer, ec_key, rsa_key

BOTH = ("RS256", "ES256")


class Shelf(NamedTuple):
    keys: KeySet
    time: list[float]

    def wait(self, seconds: float) -> None:
        self.time[0] += seconds


@pytest.fixture
async def shelf(own_issuer: Issuer) -> AsyncIterator[Shelf]:
    web, time = Web(deadline_s=2), [1000.0]
    yield Shelf(KeySet(f"{own_issuer.url}/keys", BOTH, web, lambda: time[0]), time)
    await web.close()


async def test_keys_are_asked_for_once_an_hour(shelf: Shelf, own_issuer: Issuer) -> None:
    counts = []
    for seconds in (0, 1, FRESH_S - 2, 2):
        shelf.wait(seconds)
        assert await shelf.keys.find("rsa-1")
        counts.append(own_issuer.asked["/keys"])

    assert [1, 1, 1, 2] == counts


async def test_a_key_that_is_not_there_is_looked_for_once_a_minute(shelf: Shelf, own_issuer: Issuer) -> None:
    counts: list[int] = []
    for seconds in (0, 0, 0, BETWEEN_MISSES_S - 1, 1, 0):
        shelf.wait(seconds)
        assert await shelf.keys.find(f"nobodys-{len(counts)}") is None
        counts.append(own_issuer.asked["/keys"])

    assert [1, 2, 2, 2, 3, 3] == counts


async def test_who_comes_while_the_keys_are_asked_for_waits_for_the_same(shelf: Shelf, own_issuer: Issuer) -> None:
    await shelf.keys.find("rsa-1")
    own_issuer.rotate()

    found = await asyncio.gather(*(shelf.keys.find("rsa-2") for _ in range(8)), shelf.keys.find("nobodys"))

    assert [True] * 8 + [False] == [key is not None for key in found]
    assert 2 == own_issuer.asked["/keys"]


async def test_who_gives_up_waiting_takes_nothing_from_the_others(shelf: Shelf, own_issuer: Issuer) -> None:
    own_issuer.answers.clear()
    hasty, patient = [asyncio.create_task(shelf.keys.find("rsa-1")) for _ in range(2)]
    await asyncio.sleep(0)

    hasty.cancel()
    await asyncio.gather(hasty, return_exceptions=True)
    own_issuer.answers.set()

    assert await patient
    assert 1 == own_issuer.asked["/keys"]


async def test_old_keys_are_used_for_a_day_while_the_provider_is_away(shelf: Shelf, own_issuer: Issuer) -> None:
    await shelf.keys.find("rsa-1")
    own_issuer.broken = (500, b"")
    shelf.wait(FRESH_S + 1)

    assert await shelf.keys.find("rsa-1")
    with pytest.raises(WebError):
        await shelf.keys.find("rsa-2")
    shelf.wait(STALE_S)
    with pytest.raises(WebError):
        await shelf.keys.find("rsa-1")
    own_issuer.broken = None
    shelf.wait(PAUSE_S)
    assert await shelf.keys.find("rsa-1")


async def test_a_provider_that_is_away_is_asked_every_ten_seconds(shelf: Shelf, own_issuer: Issuer) -> None:
    own_issuer.broken = (200, b'{"keys": []}')
    counts = []
    for seconds in (0, 0, PAUSE_S - 1, 1):
        shelf.wait(seconds)
        with pytest.raises(WebError):
            await shelf.keys.find("rsa-1")
        counts.append(own_issuer.asked["/keys"])

    assert [1, 1, 1, 2] == counts


async def test_a_look_that_failed_does_not_count(shelf: Shelf, own_issuer: Issuer) -> None:
    await shelf.keys.find("rsa-1")
    own_issuer.rotate()
    own_issuer.broken = (503, b"")
    with pytest.raises(WebError):
        await shelf.keys.find("rsa-2")
    own_issuer.broken = None
    shelf.wait(PAUSE_S)

    assert await shelf.keys.find("rsa-2")


RSA, EC = (
    RSAAlgorithm.to_jwk(rsa_key(1).public_key(), as_dict=True),
    ECAlgorithm.to_jwk(ec_key(1).public_key(), as_dict=True),
)


@pytest.mark.parametrize(
    "jwk",
    [
        {**RSA, "kid": 1},
        RSA,
        {**RSA, "kid": "a", "use": "enc"},
        {**RSA, "kid": "a", "alg": "RS512"},
        {**RSA, "kid": "a", "n": "!"},
        {**RSA, "kid": "a", "kty": "oct", "k": "c2VjcmV0"},
        {**RSAAlgorithm.to_jwk(rsa_key(1), as_dict=True), "kid": "a"},
        {**RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 1024).public_key(), as_dict=True), "kid": "a"},
        {**ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP384R1()).public_key(), as_dict=True), "kid": "a"},
        {**ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256K1()).public_key(), as_dict=True), "kid": "a"},
        "nonsense",
    ],
    ids=["number", "nameless", "enc", "alg", "broken", "secret", "private", "short", "P-384", "K-256", "text"],
)
def test_keys_of_other_kinds_are_left_out_and_spoil_nothing(jwk: Any) -> None:
    assert {"good"} == set(public_keys({"keys": [jwk, {**RSA, "kid": "good"}]}, BOTH))


def test_only_algorithms_of_the_configuration_count() -> None:
    both = {"keys": [{**RSA, "kid": "rsa"}, {**EC, "kid": "ec"}]}

    assert [{"rsa"}, {"ec"}] == [set(public_keys(both, (alg,))) for alg in BOTH]


@pytest.mark.parametrize("key_set", [{}, {"keys": None}, {"keys": {}}, {"keys": 1}])
def test_what_is_no_key_set_has_no_keys(key_set: Any) -> None:
    assert {} == public_keys(key_set, BOTH)
