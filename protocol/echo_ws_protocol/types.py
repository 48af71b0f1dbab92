"""The values that commands, replies and events are made of, each with its limits."""

from datetime import datetime
from typing import Annotated, Literal, TypeAlias
from uuid import UUID

from msgspec import Meta

UserId: TypeAlias = UUID
SessionId: TypeAlias = UUID
ConversationId: TypeAlias = UUID
MessageId: TypeAlias = UUID
VerificationId: TypeAlias = UUID

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
Description: TypeAlias = Annotated[
    str, Meta(max_length=1000, pattern=r"^[^\x00]*\Z", description="Text of up to 1,000 characters, no NUL.")
]
PictureUrl: TypeAlias = Annotated[
    str,
    Meta(
        max_length=2048,
        pattern=r"^(https://[!#-;=?-_a-z~%]+)?\Z",
        description="An address in ASCII that begins with `https://`, or nothing.",
    ),
]
Token: TypeAlias = Annotated[
    str, Meta(min_length=1, max_length=2048, pattern=r"^[!-~]*\Z", description="Printable ASCII.")
]
Phone: TypeAlias = Annotated[
    str,
    Meta(
        max_length=32,
        pattern=r"^\+[0-9 ().-]+\Z",
        description="A phone number with country code: `+49 151 23456789`.",
    ),
]
Email: TypeAlias = Annotated[
    str,
    Meta(
        max_length=254,
        pattern=r"^[!-?A-~]+@[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)+\Z",
        description="An e-mail address in ASCII; kept in lower case.",
    ),
]
Code: TypeAlias = Annotated[str, Meta(pattern=r"^[0-9]{6}\Z", description="The six digits that were sent.")]
Password: TypeAlias = Annotated[
    str, Meta(min_length=1, max_length=128, description="Compared exactly as it is, with all its spaces.")
]
NewPassword: TypeAlias = Annotated[str, Meta(min_length=8, max_length=128, description="8 to 128 characters.")]
DisplayName: TypeAlias = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=100,
        pattern=r"^[^\x00-\x1f\x7f]*\Z",
        description="1 to 100 characters, no control characters.",
    ),
]
DeviceId: TypeAlias = Annotated[
    str,
    Meta(
        min_length=8,
        max_length=64,
        pattern=r"^[A-Za-z0-9._:-]*\Z",
        description="Made once by the app and kept, a UUID for instance: 8 to 64 letters, digits and `.` `_` `:` `-`.",
    ),
]
Platform: TypeAlias = Annotated[
    str, Meta(min_length=1, max_length=50, pattern=r"^[a-z0-9_-]*\Z", description="`ios`, `android`, `web` …")
]
_PICTOGRAPH = (  # Extended_Pictographic of Unicode, each in text or emoji form or with a skin tone
    r"(?:[\xa9\xae\u203c\u2049\u2122\u2139\u2194-\u2199\u21a9\u21aa\u231a\u231b\u2328\u23cf\u23e9-\u23fa\u24c2\u25aa\u25ab"
    r"\u25b6\u25c0\u25fb-\u25fe\u2600-\u27bf\u2934\u2935\u2b05-\u2b07\u2b1b\u2b1c\u2b50\u2b55\u3030\u303d\u3297\u3299"
    r"\U0001f004-\U0001f1e5\U0001f200-\U0001faff][\ufe0f\U0001f3fb-\U0001f3ff]?)"
)
_KEYCAP = r"[0-9#*]\ufe0f?\u20e3"
_FLAG = r"[\U0001f1e6-\U0001f1ff]{2}"
_TAGS = r"[\U000e0020-\U000e007e]+\U000e007f"  # the flags of England, Scotland and Wales
Emoji: TypeAlias = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=10,
        # One grapheme: several in a row would be another reaction for every combination.
        pattern=rf"^(?:{_KEYCAP}|{_FLAG}|{_PICTOGRAPH}(?:\u200d{_PICTOGRAPH})*(?:{_TAGS})?)\Z",
        description="One emoji of at most 10 code points.",
    ),
]

ConversationType: TypeAlias = Literal["direct", "group", "channel"]
Role: TypeAlias = Literal["admin", "member", "reader"]
ReadableHistory: TypeAlias = Literal["all", "joined"]
MessageType: TypeAlias = Literal[
    "text", "image", "video", "audio", "document", "location", "contact", "sticker", "poll"
]
TypingKind: TypeAlias = Literal["text", "voice", "upload", "stopped"]
SessionScope: TypeAlias = Literal["others", "all"]
Outcome: TypeAlias = Literal["rejected", "retry", "unknown"]

Timestamp: TypeAlias = Annotated[datetime, Meta(tz=True, description="UTC, RFC 3339.")]
