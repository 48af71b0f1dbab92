import re
from pathlib import Path

import asyncpg

from echo_ws_db import migrate
from tests.db.sql import run

README = (Path(__file__).parents[2] / "db" / "README.md").read_text()


async def test_the_servers_role_may_work_but_not_change_the_schema(database: str) -> None:
    (grants,) = re.findall(r"```sql\n(.*?)```", README, re.DOTALL)
    await run(database, grants)
    as_server = database.replace("postgres@", "echo_server@")

    try:
        assert await migrate.current(as_server)
        await run(as_server, "INSERT INTO auth.users (phone, password_hash) VALUES ('+4930123456', '!')")
        await run(as_server, "UPDATE auth.users SET verified = TRUE")
        assert await refuses(as_server, "ALTER TABLE auth.users ADD COLUMN age INT")
        assert await refuses(as_server, "DELETE FROM schema_migrations")
    finally:
        await run(database, "DROP OWNED BY echo_server CASCADE; DROP ROLE echo_server")


async def refuses(url: str, sql: str) -> bool:
    try:
        await run(url, sql)
    except asyncpg.InsufficientPrivilegeError:
        return True
    return False
