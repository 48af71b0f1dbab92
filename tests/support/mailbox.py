"""The phones of everybody: a sender as another package would bring it."""

from collections import defaultdict

from echo_ws.senders import Notice
from echo_ws.settings import Settings

from .waiting import until


class Mailbox:
    """Keeps what was sent, by phone number."""

    def __init__(self) -> None:
        self.notices: defaultdict[str, list[Notice]] = defaultdict(list)

    def send(self, notice: Notice) -> None:
        self.notices[notice.to].append(notice)

    async def notice(self, phone: str) -> Notice:
        """Wait until something came for a number, and take the last of it."""

        async def look() -> list[Notice]:
            return self.notices[phone]

        return (await until(look)).pop()

    async def code(self, phone: str) -> str:
        code = (await self.notice(phone)).code
        assert code
        return code


MAILBOX = Mailbox()


def open_mailbox(_: Settings) -> Mailbox:
    return MAILBOX
