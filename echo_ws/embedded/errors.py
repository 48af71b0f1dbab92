class EmbeddedError(Exception):
    """An embedded server cannot run; the message is one line and says what to do."""
