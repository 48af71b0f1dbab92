import asyncpg


async def test_each_test_has_an_empty_database_of_its_own(empty_database: str) -> None:
    connection = await asyncpg.connect(empty_database)

    schemas = await connection.fetch("SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema)'")

    await connection.close()
    assert ["public"] == [row["nspname"] for row in schemas]


async def test_a_database_is_migrated(database: str) -> None:
    connection = await asyncpg.connect(database)

    table = await connection.fetchval("SELECT to_regclass('messages.messages')::text")

    await connection.close()
    assert table == "messages.messages"
