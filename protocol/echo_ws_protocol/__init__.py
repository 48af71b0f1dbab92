"""The contract between echo_ws and its clients: commands, replies, events, errors and their encoding.

Depends on msgspec and the standard library only, so that a client can use it without the server.
"""
