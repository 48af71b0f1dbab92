import time
from concurrent.futures import ThreadPoolExecutor
from uuid import RFC_4122

from echo_ws_protocol.ids import uuid7


def test_an_id_is_a_uuid_of_version_7_that_begins_with_the_time() -> None:
    before = time.time_ns() // 1_000_000

    made = uuid7()

    after = time.time_ns() // 1_000_000
    assert (7, RFC_4122) == (made.version, made.variant)
    assert before <= made.int >> 80 <= after + 1


def test_ids_rise_also_within_a_millisecond() -> None:
    ids = [uuid7() for _ in range(10_000)]

    assert sorted(set(ids)) == ids


def test_ids_made_in_several_threads_are_all_different() -> None:
    with ThreadPoolExecutor(4) as threads:
        ids = [made for batch in threads.map(lambda _: [uuid7() for _ in range(2_000)], range(4)) for made in batch]

    assert len(set(ids)) == len(ids)
