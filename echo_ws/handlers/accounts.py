from echo_ws import tokens
from echo_ws.accounts import address_of, phone_of
from echo_ws.dispatch import Context, handles
from echo_ws.errors import Unauthenticated
from echo_ws.logs import get_logger
from echo_ws_db import accounts
from echo_ws_db.accounts import Device
from echo_ws_protocol.commands import AccountLogin, AccountRegister, AccountVerify
from echo_ws_protocol.replies import AccountCreated, CodeSent, LoggedIn

from .verifications import ask, hash_for, wrong_code

log = get_logger(__name__)


@handles(AccountRegister)
async def register(ctx: Context, command: AccountRegister) -> CodeSent:
    return await ask(ctx, command.verification, "registration", command.phone)


@handles(AccountVerify)
async def verify(ctx: Context, command: AccountVerify) -> AccountCreated:
    password_hash = await hash_for(ctx, command.verification, "registration", command.password)
    digest = ctx.accounts.code_digest(command.verification, "registration", command.code)
    user = await accounts.register(ctx.db, command.verification, digest, password_hash, command.name)
    if user is None:
        raise wrong_code()
    log.info("registered", user=user)
    return AccountCreated(user)


@handles(AccountLogin)
async def login(ctx: Context, command: AccountLogin) -> LoggedIn:
    """Count the try, look at the password, open the session; whatever is wrong looks and lasts the same."""
    services = ctx.accounts
    phone, address, agent = phone_of(command.phone), address_of(ctx.address), ctx.user_agent or None
    known = tokens.digest(command.known) if command.known else None
    services.check_room()
    tried = await accounts.attempt(ctx.db, phone, None, known, command.device, address, agent)
    is_right = await services.verify(tried.password_hash, command.password)
    if not is_right or tried.user_id is None or tried.password_hash is None:
        raise wrong_password()
    new_hash = await services.rehash(tried.password_hash, command.password)
    services.end(await accounts.make_room(ctx.db, tried.user_id, command.device, services.most_sessions))
    token, refresh_token = tokens.new_session_token(), tokens.new_session_token()
    device = Device(command.device, command.platform, command.device_name, command.metadata, address, agent)
    row = await accounts.log_in(
        ctx.db,
        tried.user_id,
        tried.attempt,
        tried.password_hash,
        new_hash,
        tokens.digest(token),
        tokens.digest(refresh_token),
        device,
        services.session_days,
        services.refresh_days,
    )
    if row is None:
        raise wrong_password()
    log.info("logged_in", user=row.user_id, session=row.session)
    return services.logged_in(row, token, refresh_token)


def wrong_password() -> Unauthenticated:
    return Unauthenticated("phone number or password is not right, or too many were wrong: wait a while")
