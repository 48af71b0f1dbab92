"""A database that another service made by the schema reference is taken over as it is."""

import pytest

from echo_ws_db import catalog, migrate
from echo_ws_db.migrate import MigrationError
from tests.db.reference import SCHEMAS, TABLE_COUNTS, TABLES
from tests.db.sql import connection, run, value

USER = "INSERT INTO auth.users (phone, password_hash) VALUES ('+4930123456', '!')"

ITS_TRIGGER = """
CREATE FUNCTION update_updated_at_column() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;
CREATE TRIGGER touched BEFORE UPDATE ON auth.users FOR EACH ROW EXECUTE FUNCTION update_updated_at_column();
"""


async def test_its_tables_are_adopted_with_their_rows(scratch: str) -> None:
    await run(scratch, SCHEMAS + TABLES + USER)

    await migrate.up(scratch)

    assert await migrate.current(scratch)
    assert 1 == await value(scratch, "SELECT count(*) FROM auth.users")


async def test_an_adopted_database_is_like_one_of_our_own(scratch: str, database: str) -> None:
    await run(scratch, SCHEMAS + TABLES)

    await migrate.up(scratch)

    async with connection(scratch) as adopted, connection(database) as own:
        assert await catalog.read(own, TABLE_COUNTS) == await catalog.read(adopted, TABLE_COUNTS)


async def test_its_own_triggers_and_functions_stay(scratch: str) -> None:
    await run(scratch, SCHEMAS + TABLES + ITS_TRIGGER)

    await migrate.up(scratch)

    triggers = "SELECT array_agg(tgname::text) FROM pg_trigger WHERE NOT tgisinternal AND tgrelid = $1::regclass"
    async with connection(scratch) as db:
        assert ["touched"] == await db.fetchval(triggers, "auth.users")
        assert ["update_phone_locations_updated_at"] == await db.fetchval(triggers, "location.phone_locations")
        assert ":= now()" in await db.fetchval("SELECT prosrc FROM pg_proc WHERE proname = 'update_updated_at_column'")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("DROP TABLE location.phone_locations", "table location.phone_locations is missing"),
        (
            "ALTER TABLE auth.users ALTER phone TYPE text",
            "column auth.users.phone is «text NOT NULL», expected «character varying(20) NOT NULL»",
        ),
        (
            "DROP INDEX messages.idx_reactions_user_id",
            """
            index messages.reactions.idx_reactions_user_id is missing:
            CREATE INDEX idx_reactions_user_id ON messages.reactions USING btree (user_id)
            """,
        ),
        (
            "ALTER TABLE auth.users ADD COLUMN tenant int NOT NULL",
            "column auth.users.tenant is not in the reference: make it nullable or give it a default",
        ),
        (
            "ALTER TABLE users.contacts DROP added_at, DROP nickname",
            r"column users.contacts.nickname is missing: character varying(100) (and 1 more)",
        ),
    ],
)
async def test_what_differs_is_told_and_nothing_is_done(scratch: str, change: str, complaint: str) -> None:
    await run(scratch, SCHEMAS + TABLES + change)
    async with connection(scratch) as db:
        before = await catalog.read(db, TABLE_COUNTS)

        with pytest.raises(MigrationError) as caught:
            await migrate.up(scratch)

        assert f"cannot adopt the tables that are there: {' '.join(complaint.split())}" == str(caught.value)
        assert before == await catalog.read(db, TABLE_COUNTS)


async def test_tables_that_the_reference_only_counts_are_extended(scratch: str) -> None:
    its_uploads = (
        "CREATE TABLE media.uploads (id serial PRIMARY KEY, path text); INSERT INTO media.uploads (path) VALUES ('a');"
    )
    await run(scratch, SCHEMAS + TABLES + its_uploads)

    await migrate.up(scratch)
    await run(scratch, "INSERT INTO media.uploads (path) VALUES ('b')")

    assert 2 == await value(scratch, "SELECT count(*) FROM media.uploads WHERE upload_offset = 0 AND path <> ''")


async def test_adopted_tables_are_never_dropped(scratch: str) -> None:
    await run(scratch, SCHEMAS + TABLES)
    await migrate.up(scratch)

    with pytest.raises(MigrationError, match="0001_reference adopted the tables of another service"):
        await migrate.down(scratch, steps=99)

    assert await migrate.current(scratch)


async def test_empty_schemas_are_no_obstacle(scratch: str) -> None:
    await run(scratch, SCHEMAS)

    await migrate.up(scratch)

    assert await migrate.current(scratch)
