"""How a code reaches a phone: senders, the two that are built in and those of other packages.

A package adds one by an entry point in the group ``echo_ws.senders``: its name is what ``ECHO_SENDER`` says, and what
it refers to is called with the ``Settings`` and returns a ``Sender``.
"""

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Literal, Protocol, TypeAlias

from msgspec import Struct

from echo_ws.config import ConfigError, Settings

GROUP = "echo_ws.senders"


class Notice(Struct, frozen=True, omit_defaults=True):
    """Something to tell somebody. Its texts are secret."""

    id: str
    """The same for every try: by it a gateway may tell that it has sent a notice before."""
    to: str
    """A phone number, E.164; or an e-mail address, for ``email_verification`` and who has no number."""
    purpose: Literal[
        "registration", "login", "password_reset", "phone_change", "email_verification",
        "account_deletion", "already_registered", "phone_changed", "identity_linked",
    ]  # fmt: skip
    text: str
    """Ready to be sent."""
    code: str | None = None
    """For those who write their own texts."""

    def __repr__(self) -> str:
        return f"<Notice {self.id} {self.purpose}>"


class SendError(Exception):
    """A notice was not sent; the message names no phone number and no code."""

    def __init__(self, message: str, *, may_retry: bool = True) -> None:
        super().__init__(message)
        self.may_retry = may_retry


class Sender(Protocol):
    def send(self, notice: Notice) -> None:
        """Send a notice, or raise ``SendError``; it may be tried again. Called on a thread, and may block there."""


MakeSender: TypeAlias = Callable[[Settings], Sender]


def open_sender(settings: Settings) -> Sender | None:
    """Return the sender of the settings, or None if they name none.

    Raises:
        ConfigError: there is no such sender, or something that it needs is missing.
    """
    if settings.sender is None:
        return None
    if settings.sender == "console":
        from .console import ConsoleSender  # noqa: PLC0415 - only the one that is used

        return ConsoleSender()
    if settings.sender == "webhook":
        from .webhook import WebhookSender  # noqa: PLC0415 - only the one that is used

        return WebhookSender(settings)
    found = entry_points(group=GROUP, name=settings.sender)
    if not found:
        raise ConfigError(
            f"ECHO_SENDER: no sender is called {settings.sender}: use console, webhook or a plug-in's name"
        )
    make: MakeSender = next(iter(found)).load()
    return make(settings)
