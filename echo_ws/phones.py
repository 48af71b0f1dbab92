import re

_WRITTEN = re.compile(r"\+[0-9 ().-]+")


class BadPhone(ValueError):
    """Not a phone number with country code."""


def e164(phone: str) -> str:
    """Return a phone number, as people write it, in the form in which it is stored; or raise ``BadPhone``."""
    import phonenumbers  # noqa: PLC0415 - only who registers, logs in or administers needs it

    try:  # the library would also take letters, other scripts' digits and what stands behind a number
        number = phonenumbers.parse(phone, None) if _WRITTEN.fullmatch(phone) else None
    except phonenumbers.NumberParseException:
        number = None
    if number is None or not phonenumbers.is_possible_number(number):
        raise BadPhone
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
