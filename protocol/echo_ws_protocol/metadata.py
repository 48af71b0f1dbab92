"""What stands in the ``metadata`` of a message, by its ``type``. Names and meaning are those of the tables' reference.

Times are text here in both subprotocols, because metadata is stored as JSON.
"""

from datetime import UTC
from typing import Annotated, Any

from msgspec import Meta, Struct, ValidationError, field, json
from msgspec.structs import force_setattr

from .types import Emoji, MessageType, MimeType, Name, PhoneText, Timestamp, Url, UserId

MAX_METADATA_BYTES = 4096
"""Of the metadata of one message, as JSON."""

Pixels = Annotated[int, Meta(ge=1, le=100_000)]
Bytes = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Seconds = Annotated[float, Meta(ge=0, le=604_800)]
Short = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[^\x00]*\Z")]
Long = Annotated[str, Meta(min_length=1, max_length=1024, pattern=r"^[^\x00]*\Z")]


class Metadata(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, kw_only=True):
    """The root of all metadata."""


class ImageMetadata(Metadata, frozen=True):
    """An image."""

    file_url: Url
    thumbnail_url: Url | None = None
    width: Pixels | None = None
    height: Pixels | None = None
    size: Bytes | None = None
    """In bytes."""
    mime_type: MimeType | None = None
    caption: Long | None = None
    """The same as ``content``; you may send either, and an edit changes both."""


class VideoMetadata(ImageMetadata, frozen=True):
    """A video."""

    duration: Seconds | None = None
    """In seconds."""


class AudioMetadata(Metadata, frozen=True):
    """A voice message, or music."""

    file_url: Url
    duration: Seconds
    """In seconds."""
    size: Bytes | None = None
    """In bytes."""
    mime_type: MimeType | None = None
    waveform: Annotated[list[Annotated[int, Meta(ge=0, le=255)]], Meta(max_length=256)] = field(default_factory=list)
    """How loud it is, from beginning to end."""


class DocumentMetadata(Metadata, frozen=True):
    """A file of any kind."""

    file_url: Url
    file_name: Name
    size: Bytes
    """In bytes."""
    mime_type: MimeType


class LocationMetadata(Metadata, frozen=True):
    """A place, in degrees."""

    latitude: Annotated[float, Meta(ge=-90, le=90)]
    longitude: Annotated[float, Meta(ge=-180, le=180)]
    name: Short | None = None
    address: Long | None = None


class ContactMetadata(Metadata, frozen=True):
    """Somebody's card."""

    name: Name
    phones: Annotated[list[PhoneText], Meta(max_length=10)] = field(default_factory=list)
    user: UserId | None = None
    """Who it is, if known; the server does not look."""


class StickerMetadata(Metadata, frozen=True):
    """A sticker: a picture, an emoji, or both."""

    file_url: Url | None = None
    emoji: Emoji | None = None
    pack: Short | None = None

    def __post_init__(self) -> None:
        if self.file_url is None and self.emoji is None:
            raise ValueError("A sticker has a `file_url` or an `emoji`")


class PollMetadata(Metadata, frozen=True):
    """A question with answers to choose from. Votes come by ``poll.vote``."""

    question: Annotated[str, Meta(min_length=1, max_length=300, pattern=r"^[^\x00]*\Z")]
    options: Annotated[list[Short], Meta(min_length=2, max_length=10)]
    multiple: bool = False
    """Whether one may choose several."""
    anonymous: bool = False
    """Whether nobody is told who chose what."""
    closes_at: Timestamp | None = None
    """From when on there are no more votes. Kept in UTC, to the second."""

    def __post_init__(self) -> None:
        if len(set(self.options)) < len(self.options):
            raise ValueError("Two options are the same")
        if self.closes_at:
            try:
                force_setattr(self, "closes_at", self.closes_at.astimezone(UTC).replace(microsecond=0))
            except OverflowError:
                raise ValueError("Not a time in UTC") from None


METADATA: dict[MessageType, type[Metadata]] = {
    "image": ImageMetadata,
    "video": VideoMetadata,
    "audio": AudioMetadata,
    "document": DocumentMetadata,
    "location": LocationMetadata,
    "contact": ContactMetadata,
    "sticker": StickerMetadata,
    "poll": PollMetadata,
}
"""What belongs to each type. A text has none."""

_DECODERS = {type_: json.Decoder(struct) for type_, struct in METADATA.items()}


def checked(type_: MessageType, content: str, metadata: dict[str, Any] | None) -> tuple[str, dict[str, Any] | None]:
    """Return the content and the metadata of a message as they are stored.

    Raises:
        ValidationError: they do not go with the type.
    """
    if type_ == "text":
        if not content:
            raise ValidationError("Expected `str` of length >= 1 - at `$.content`")
        if metadata is not None:
            raise ValidationError("A text has no metadata - at `$.metadata`")
        return content, None
    if metadata is None:
        raise ValidationError("Object missing required field `metadata`")
    found = read(type_, metadata)
    caption = getattr(found, "caption", None)
    if caption and content and caption != content:
        raise ValidationError("Another caption stands in `content` - at `$.metadata.caption`")
    return content or caption or "", json.decode(json.encode(found))


def read(type_: MessageType, metadata: dict[str, Any]) -> Metadata:
    """Return the metadata as a struct, by way of JSON: that is what is stored, whichever way it came.

    Raises:
        ValidationError: it is not what belongs to the type.
    """
    raw = json.encode(metadata)
    if len(raw) > MAX_METADATA_BYTES:
        raise ValidationError(f"Longer than {MAX_METADATA_BYTES:,} bytes - at `$.metadata`")
    try:
        return _DECODERS[type_].decode(raw)
    except ValidationError as error:
        problem, _, path = str(error).partition(" - at `$")
        raise ValidationError(f"{problem} - at `$.metadata{path.rstrip('`')}`") from None
