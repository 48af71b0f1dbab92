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
FlowId: TypeAlias = UUID

MAX_SAFE_INTEGER = 2**53 - 1
"""The largest integer that every JSON reader keeps exact."""

Seq: TypeAlias = Annotated[
    int, Meta(ge=0, le=MAX_SAFE_INTEGER, description="Position of a message in its conversation: 1, 2, 3 …")
]
Rev: TypeAlias = Annotated[
    int, Meta(ge=0, le=MAX_SAFE_INTEGER, description="Number of a change in its conversation: 1, 2, 3 …")
]
Option: TypeAlias = Annotated[int, Meta(ge=0, le=9, description="Place of an option in a poll, from 0.")]
RequestId: TypeAlias = Annotated[
    int, Meta(ge=0, le=MAX_SAFE_INTEGER, description="Chosen by the client; the reply carries it back.")
]
Milliseconds: TypeAlias = Annotated[int, Meta(ge=0)]

_NO_NUL = r"^[^\x00]*\Z"
_NO_CONTROL = r"^[^\x00-\x1f\x7f]*\Z"
_PRINTABLE = r"^[!-~]*\Z"
SHARED_FORMS = {_NO_NUL: "no NUL", _NO_CONTROL: "no control characters", _PRINTABLE: "printable ASCII"}
"""What several types ask of a text, in words."""

# PostgreSQL stores no NUL in text; everything else a person can type is kept as it came.
Caption: TypeAlias = Annotated[
    str, Meta(max_length=4096, pattern=_NO_NUL, description="Text of up to 4,096 characters, no NUL.")
]
Query: TypeAlias = Annotated[
    str,
    Meta(min_length=1, max_length=256, pattern=_NO_NUL, description="1 to 256 characters, no NUL."),
]
Name: TypeAlias = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=255,
        pattern=_NO_CONTROL,
        description="1 to 255 characters, no control characters.",
    ),
]
Description: TypeAlias = Annotated[
    str, Meta(max_length=1000, pattern=_NO_NUL, description="Text of up to 1,000 characters, no NUL.")
]
Token: TypeAlias = Annotated[
    str, Meta(min_length=1, max_length=2048, pattern=_PRINTABLE, description="Printable ASCII.")
]
Phone: TypeAlias = Annotated[
    str,
    Meta(
        max_length=32,
        pattern=r"^\+[0-9 ().-]+\Z",
        description="A phone number with country code: `+49 151 23456789`.",
    ),
]
PhoneText: TypeAlias = Annotated[
    str, Meta(max_length=32, pattern=r"^[+0-9 ().*#/-]+\Z", description="A phone number as somebody noted it.")
]
Url: TypeAlias = Annotated[
    str, Meta(max_length=2048, pattern=r"^https://[!-~]+\Z", description="A URL with https, in ASCII.")
]
MimeType: TypeAlias = Annotated[
    str,
    Meta(max_length=100, pattern=r"^[a-z0-9.+_-]+/[A-Za-z0-9.+_-]+\Z", description="`image/jpeg`, `audio/ogg` …"),
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
NewPassword: TypeAlias = Annotated[
    str, Meta(min_length=8, max_length=128, description="8 to 128 characters; one that many people have is refused.")
]
DisplayName: TypeAlias = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=100,
        pattern=_NO_CONTROL,
        description="1 to 100 characters, no control characters.",
    ),
]
Bio: TypeAlias = Annotated[
    str,
    Meta(max_length=1000, pattern=_NO_NUL, description="Up to 1,000 characters, no NUL; empty: none."),
]
AvatarUrl: TypeAlias = Annotated[
    str,
    Meta(
        max_length=2048,
        pattern=r"^(https://[!#-;=?-_a-z~%]+)?\Z",
        description="An address in ASCII that begins with `https://`, or nothing.",
    ),
]
PhoneHash: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^[0-9a-f]{32}\Z",
        description="The first 32 digits of the SHA-256, in hex, of a phone number as `+4915123456789`.",
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
Provider: TypeAlias = Literal["google", "apple", "facebook", "github"]
RedirectUri: TypeAlias = Annotated[
    str,
    Meta(min_length=1, max_length=500, pattern=_PRINTABLE, description="One of those that the operator has listed."),
]
IdToken: TypeAlias = Annotated[
    str,
    Meta(min_length=1, max_length=3072, pattern=r"^[A-Za-z0-9_.-]*\Z", description="A JWT that the provider signed."),
]
AuthorizationCode: TypeAlias = Annotated[
    str, Meta(min_length=1, max_length=1024, pattern=_PRINTABLE, description="As the provider sent it back.")
]
FlowState: TypeAlias = Annotated[
    str, Meta(min_length=1, max_length=64, pattern=_PRINTABLE, description="As the provider sent it back.")
]
Country: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Z]{2}\Z", description="Two capital letters, ISO 3166-1: `DE`.")]
TimeZone: TypeAlias = Annotated[
    str,
    Meta(
        max_length=64,
        pattern=r"^[A-Za-z][A-Za-z0-9_+/-]*\Z",
        description="A name of the IANA database: `Europe/Berlin`.",
    ),
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
DeliveryStatus: TypeAlias = Literal["sent", "delivered", "read"]
Audience: TypeAlias = Literal["everyone", "contacts", "nobody"]
TypingKind: TypeAlias = Literal["text", "voice", "upload", "stopped"]
PresenceStatus: TypeAlias = Literal["online", "away", "busy", "offline"]
OwnStatus: TypeAlias = Literal["online", "away", "busy"]
SearchOrder: TypeAlias = Literal["best", "newest"]
SessionScope: TypeAlias = Literal["others", "all"]
Fate: TypeAlias = Literal["keep", "erase"]
Outcome: TypeAlias = Literal["rejected", "retry", "unknown"]

Timestamp: TypeAlias = Annotated[datetime, Meta(tz=True, description="UTC, RFC 3339.")]
