import pytest

from echo_ws.errors import REFUSALS, EchoError, as_echo_error
from echo_ws_db.rows import Refused
from echo_ws_protocol.errors import ErrorCode


@pytest.mark.parametrize("error", REFUSALS.values())
def test_every_refusal_is_said_in_words(error: type[EchoError]) -> None:
    """A docstring is the message."""
    assert len(str(error()).split()) > 2


def test_a_refusal_that_only_a_later_release_knows_is_one_all_the_same() -> None:
    """Its functions are in place before its servers are."""
    error = as_echo_error(Refused("unheard_of"))  # type: ignore[arg-type]  # not yet a word of ours

    assert error
    assert error.code is ErrorCode.FORBIDDEN
