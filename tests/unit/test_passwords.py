import asyncio
import os
import sys
import threading

import pytest

from echo_ws import passwords
from echo_ws.passwords import BadPassword, PasswordThread

RIGHT = "correct horse 🐎"


@pytest.fixture(scope="module")
def password_hash() -> str:
    return passwords.hash_password(RIGHT)


def test_the_right_password_verifies_and_any_other_does_not(password_hash: str) -> None:
    assert passwords.verify(password_hash, RIGHT)
    assert not passwords.verify(password_hash, RIGHT.upper())
    assert not passwords.verify(password_hash, RIGHT + " ")


def test_the_cost_is_the_one_decided(password_hash: str) -> None:
    assert password_hash.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert not passwords.needs_rehash(password_hash)
    assert passwords.needs_rehash(password_hash.replace("t=2", "t=1"))


@pytest.mark.parametrize("stored", [None, "!", "", "$argon2id$garbage"])
def test_without_a_real_hash_nothing_verifies(stored: str | None) -> None:
    assert not passwords.verify(stored, RIGHT)
    assert not passwords.verify(stored, "nobody has this password")


@pytest.mark.parametrize("password", ["seven77", "x" * 129, "surrogate \ud800"])
def test_a_password_of_the_wrong_length_cannot_be_set_or_verified(password: str, password_hash: str) -> None:
    with pytest.raises(BadPassword, match="8 to 128 characters"):
        passwords.hash_password(password)
    assert not passwords.verify(password_hash, password)


@pytest.mark.parametrize("password", ["eight888", "🐎" * 128])
def test_the_shortest_and_the_longest_password_can_be_set(password: str) -> None:
    passwords.check(password)


@pytest.mark.parametrize("password", ["password", "12345678", "Password1", " iloveyou ", "QWERTYUIOP"])
def test_what_many_people_have_cannot_be_set(password: str) -> None:
    with pytest.raises(BadPassword, match="many people have this password"):
        passwords.check(password)


@pytest.mark.parametrize(
    "password", ["+4915123456789", "0049 151 23456789", "0151/2345-6789", "(0151) 23456789", "5123456789"]
)
def test_the_phone_number_cannot_be_the_password(password: str) -> None:
    with pytest.raises(BadPassword, match="phone number"):
        passwords.check(password, "+4915123456789")


@pytest.mark.parametrize("password", ["01512345678", "4915123456789x", "000000000000000", "password horse"])
def test_what_only_looks_like_the_number_or_the_list_can_be_set(password: str) -> None:
    passwords.check(password, "+4915123456789")


def test_the_list_holds_the_three_thousand_most_common_that_fit() -> None:
    fitting = [each for each in passwords.common_passwords() if passwords.SHORTEST <= len(each) <= passwords.LONGEST]

    assert len(fitting) == len(passwords.common_passwords())
    assert len(fitting) >= 3000
    assert not any(word in "".join(fitting) for word in ("copyright", "---"))


async def test_the_event_loop_turns_while_a_password_is_verified(password_hash: str) -> None:
    thread = PasswordThread()
    verdict = asyncio.ensure_future(thread.verify(password_hash, RIGHT))
    turns = 0

    while not verdict.done():
        turns += 1
        await asyncio.sleep(0)

    assert verdict.result()
    assert turns > 10
    thread.close()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere all threads have one priority")
async def test_passwords_give_way_to_the_event_loop() -> None:
    thread = PasswordThread()

    theirs = thread._executor.submit(lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id())).result()

    assert theirs == os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) + passwords.NICE
    thread.close()
