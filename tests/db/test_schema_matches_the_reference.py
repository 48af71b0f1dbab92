"""The migrated database holds all that the schema reference shows, and what is ours only adds to it."""

from collections import Counter
from collections.abc import Iterator

import pytest

from echo_ws_db import catalog
from echo_ws_db.catalog import Catalog
from tests.db import reference as shown
from tests.db.reference import TABLE_COUNTS
from tests.db.sql import connection
from tests.support.services import Databases


async def read_catalog(url: str, sql: str = "SELECT 1") -> Catalog:
    """Return what stands in a database after `sql`, of which nothing stays."""
    async with connection(url) as db:
        transaction = db.transaction()
        await transaction.start()
        await db.execute(sql)
        return await catalog.read(db, TABLE_COUNTS)


@pytest.fixture(scope="module")
def reference(databases: Databases) -> Catalog:
    with databases.fresh("template0") as url:
        return databases.run(read_catalog(url, shown.everything()))


@pytest.fixture(scope="module")
def migrated(databases: Databases, template: str) -> Iterator[str]:
    with databases.fresh(template) as url:
        yield url


async def test_nothing_of_the_reference_is_missing_and_ours_only_adds(reference: Catalog, migrated: str) -> None:
    ours = await read_catalog(migrated)

    differences = catalog.differences(reference, ours)

    assert [] == differences


def test_the_reference_is_read_whole(reference: Catalog) -> None:
    kinds = Counter(thing.kind for thing in reference.values())

    assert 18 == kinds["table"]
    assert 7 == kinds["trigger"]
    assert 2 == kinds["function"]
    assert shown.TEXT.count("CREATE INDEX") == kinds["index"]
    assert 24 == sum(TABLE_COUNTS.values())


async def test_every_schema_has_the_tables_that_the_reference_counts(migrated: str) -> None:
    ours = await read_catalog(migrated)

    counts = Counter(thing.table.partition(".")[0] for thing in ours.values() if thing.kind == "table")

    assert {} == {schema: count for schema, count in TABLE_COUNTS.items() if counts[schema] < count}


async def test_every_updated_at_has_its_trigger(migrated: str) -> None:
    ours = await read_catalog(migrated)

    tables = [thing.table for thing in ours.values() if thing.kind == "column" and thing.name == "updated_at"]

    assert [] == [table for table in tables if f"trigger {table}.update_{table.split('.')[1]}_updated_at" not in ours]


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (
            "DROP TABLE users.contacts",
            "table users.contacts is missing",
        ),
        (
            "ALTER TABLE auth.users DROP COLUMN locked_until",
            "column auth.users.locked_until is missing: timestamp without time zone",
        ),
        (
            "ALTER TABLE auth.users ALTER COLUMN phone TYPE varchar(21)",
            "column auth.users.phone is «character varying(21) NOT NULL», expected «character varying(20) NOT NULL»",
        ),
        (
            "ALTER TABLE auth.users ALTER COLUMN verified SET DEFAULT true",
            "column auth.users.verified is «boolean DEFAULT true», expected «boolean DEFAULT false»",
        ),
        (
            "ALTER TABLE media.files ALTER COLUMN url DROP NOT NULL",
            "column media.files.url is «text», expected «text NOT NULL»",
        ),
        (
            "ALTER TABLE users.contacts DROP CONSTRAINT contacts_user_id_contact_user_id_key",
            """
            constraint users.contacts.contacts_user_id_contact_user_id_key is missing:
            UNIQUE (user_id, contact_user_id)
            """,
        ),
        (
            """
            ALTER TABLE auth.sessions DROP CONSTRAINT sessions_user_id_fkey;
            ALTER TABLE auth.sessions ADD FOREIGN KEY (user_id) REFERENCES auth.users(id)
            """,
            """
            constraint auth.sessions.sessions_user_id_fkey is «FOREIGN KEY (user_id) REFERENCES auth.users(id)»,
            expected «FOREIGN KEY (user_id) REFERENCES auth.users(id) ON DELETE CASCADE»
            """,
        ),
        (
            """
            DROP INDEX auth.idx_users_phone;
            CREATE INDEX idx_users_phone ON auth.users(phone)
            """,
            """
            index auth.users.idx_users_phone is «CREATE INDEX idx_users_phone ON auth.users USING btree (phone)»,
            expected «CREATE INDEX idx_users_phone ON auth.users USING btree (phone) WHERE (deleted_at IS NULL)»
            """,
        ),
        (
            "DROP INDEX messages.idx_conversations_participants",
            """
            index messages.conversations.idx_conversations_participants is missing: CREATE INDEX
            idx_conversations_participants ON messages.conversations USING gin (participants)
            """,
        ),
        (
            "ALTER TABLE users.profiles DISABLE TRIGGER update_profiles_updated_at",
            """
            trigger users.profiles.update_profiles_updated_at is «CREATE TRIGGER update_profiles_updated_at
            BEFORE UPDATE ON users.profiles FOR EACH ROW EXECUTE FUNCTION update_updated_at_column() (not enabled)»,
            expected «CREATE TRIGGER update_profiles_updated_at
            BEFORE UPDATE ON users.profiles FOR EACH ROW EXECUTE FUNCTION update_updated_at_column()»
            """,
        ),
        (
            "ALTER TABLE users.contacts ADD COLUMN rank int NOT NULL",
            "column users.contacts.rank is not in the reference: make it nullable or give it a default",
        ),
        (
            "ALTER TABLE users.contacts ADD CONSTRAINT brief CHECK (nickname <> '')",
            """
            constraint users.contacts.brief is not in the reference and may refuse what is valid there:
            CHECK (((nickname)::text <> ''::text))
            """,
        ),
        (
            "CREATE UNIQUE INDEX one_name ON users.profiles (lower(display_name))",
            """
            index users.profiles.one_name is not in the reference and may refuse what is valid there:
            CREATE UNIQUE INDEX one_name ON users.profiles USING btree (lower((display_name)::text))
            """,
        ),
    ],
)
async def test_a_difference_is_told(reference: Catalog, migrated: str, change: str, difference: str) -> None:
    changed = await read_catalog(migrated, change)

    differences = catalog.differences(reference, changed)

    assert [" ".join(difference.split())] == differences


async def test_a_missing_function_is_told(reference: Catalog, migrated: str) -> None:
    changed = await read_catalog(migrated, "DROP FUNCTION cleanup_expired_sessions()")

    (difference,) = catalog.differences(reference, changed)

    assert difference.startswith("function cleanup_expired_sessions() is missing: CREATE OR REPLACE FUNCTION")


@pytest.mark.parametrize(
    "addition",
    [
        "CREATE TABLE users.extras (id uuid PRIMARY KEY)",
        "ALTER TABLE users.contacts ADD COLUMN rank int",
        "ALTER TABLE users.contacts ADD COLUMN rank int NOT NULL DEFAULT 0",
        "ALTER TABLE users.contacts ADD COLUMN rank int UNIQUE CHECK (rank > 0)",
        "ALTER TABLE users.contacts ADD COLUMN rank int; CREATE UNIQUE INDEX ON users.contacts (user_id, rank)",
        "CREATE INDEX ON users.contacts (nickname)",
        "CREATE TRIGGER again BEFORE UPDATE ON users.contacts FOR EACH ROW EXECUTE FUNCTION update_updated_at_column()",
    ],
)
async def test_an_addition_is_no_difference(reference: Catalog, migrated: str, addition: str) -> None:
    changed = await read_catalog(migrated, addition)

    differences = catalog.differences(reference, changed)

    assert [] == differences
