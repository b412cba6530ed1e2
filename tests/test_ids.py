"""Ids never repeat, whoever makes them."""

import os

from organism.ids import RandomIds


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
