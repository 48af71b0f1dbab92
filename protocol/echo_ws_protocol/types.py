"""The values that commands, replies and events are made of, each with its limits."""

from datetime import datetime
from typing import Annotated, Literal, TypeAlias
from uuid import UUID

from msgspec import Meta

UserId: TypeAlias = UUID
SessionId: TypeAlias = UUID
ConversationId: TypeAlias = UUID
MessageId: TypeAlias = UUID

MAX_SAFE_INTEGER = 2**53 - 1
"""The largest integer that every JSON reader keeps exact."""

Seq: TypeAlias = Annotated[
    int, Meta(ge=0, le=MAX_SAFE_INTEGER, description="Position of a message in its conversation: 1, 2, 3 …")
]
Rev: TypeAlias = Annotated[
    int, Meta(ge=0, le=MAX_SAFE_INTEGER, description="Number of a change in its conversation: 1, 2, 3 …")
]
RequestId: TypeAlias = Annotated[
    int, Meta(ge=0, le=MAX_SAFE_INTEGER, description="Chosen by the client; the reply carries it back.")
]
Milliseconds: TypeAlias = Annotated[int, Meta(ge=0)]

# PostgreSQL stores no NUL in text; everything else a person can type is kept as it came.
Content: TypeAlias = Annotated[
    str,
    Meta(min_length=1, max_length=4096, pattern=r"^[^\x00]*\Z", description="Text of 1 to 4,096 characters, no NUL."),
]
Name: TypeAlias = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=255,
        pattern=r"^[^\x00-\x1f\x7f]*\Z",
        description="1 to 255 characters, no control characters.",
    ),
]
Token: TypeAlias = Annotated[
    str, Meta(min_length=1, max_length=2048, pattern=r"^[!-~]*\Z", description="Printable ASCII.")
]
Emoji: TypeAlias = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=10,
        # Digits, # and * begin keycaps; the other parts are pictographs, flags, modifiers, joiners and tags.
        pattern=(
            r"^(?:[0-9#*]\ufe0f?\u20e3"
            r"|[\xa9\xae\u203c-\u3299\U0001f000-\U0001faff]"
            r"[\u200d\ufe0f\u20e3\u2190-\u2bff\U0001f000-\U0001faff\U000e0020-\U000e007f]*)\Z"
        ),
        description="One emoji of at most 10 code points.",
    ),
]

ConversationType: TypeAlias = Literal["direct", "group", "channel"]
Role: TypeAlias = Literal["admin", "member", "reader"]
MessageType: TypeAlias = Literal[
    "text", "image", "video", "audio", "document", "location", "contact", "sticker", "poll"
]
TypingKind: TypeAlias = Literal["text", "voice", "upload", "stopped"]
Outcome: TypeAlias = Literal["rejected", "retry", "unknown"]

Timestamp: TypeAlias = Annotated[datetime, Meta(tz=True, description="UTC, RFC 3339.")]
