"""Ids never repeat, whoever makes them."""

import os
from zlib import crc32

import pytest

from organism.ids import THREAD_ID, Layout, PartitionIds, RandomIds


def test_ids_are_random_and_do_not_repeat() -> None:
    """Ten thousand ids are all different, and each is a prefix and eighty random bits in hexadecimal digits."""
    ids = RandomIds()
    made = [ids.next("msg") for _ in range(10_000)]
    assert len(set(made)) == len(made)
    assert all(name.startswith("msg_") and len(name) == 24 and int(name[4:], 16) >= 0 for name in made)


def test_a_forked_process_makes_other_ids_than_its_parent() -> None:
    """Ids that are kept ready are not handed out twice, once in a process and once in its fork."""
    ids = RandomIds()
    ids.next("x")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, "\n".join(ids.next("x") for _ in range(100)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        theirs = set(pipe.read().split())
    assert len(theirs) == 100
    assert not theirs & {ids.next("x") for _ in range(400)}


@pytest.mark.parametrize("partitions", [2, 16, 256])
def test_an_id_tells_its_partition(partitions: int) -> None:
    """Whatever a partition's source makes, is found in that partition by everybody who knows how many there are."""
    for partition in range(partitions):
        name = PartitionIds(partition, RandomIds()).next("th")
        assert THREAD_ID.fullmatch(name)
        assert Layout(partitions).partition_of(name) == partition


@pytest.mark.parametrize("name", ["order-17", "th_" + "0" * 20, "th_ff" + "0" * 20, "th_0g" + "0" * 20, "a" * 64])
def test_any_name_has_one_partition(name: str) -> None:
    """A name that a caller has made up has a partition too, also one that looks like an id of a larger cluster."""
    assert Layout(16).partition_of(name) == crc32(name.encode()) % 16
