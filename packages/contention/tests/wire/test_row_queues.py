"""Who overtakes another in the queue for a row is noticed, and who waits for something else not."""

from collections.abc import Mapping

from contention.wire.blocking import Wait
from contention.wire.row_queues import has_queue, overtaker

HOLDER = Wait(2, frozenset({1}), "transactionid")
SECOND = Wait(3, frozenset({2}), "tuple", "accounts")
THIRD = Wait(4, frozenset({2, 3}), "tuple", "accounts")
QUEUE = {"w2/1": HOLDER, "w3/1": SECOND, "w4/1": THIRD}
ASKED = {"w2/1": 2, "w3/1": 3, "w4/1": 4}


def found(before: Mapping[str, Wait], now: Mapping[str, Wait], *answered: str) -> str:
    return overtaker(before, now, answered, ASKED.get)


def test_a_queue_in_the_order_of_asking_is_as_it_should_be() -> None:
    behind = {"w3/1": Wait(3, frozenset({2}), "transactionid"), "w4/1": SECOND}
    assert not found({}, QUEUE)
    assert not found(QUEUE, behind, "w1/1", "w2/1")


def test_who_has_the_row_before_the_first_of_the_queue_has_overtaken_it() -> None:
    still = {"w2/1": Wait(2, frozenset({3}), "transactionid")}
    assert found(QUEUE, still, "w1/1", "w3/1") == "w3/1"


def test_who_stands_before_one_who_asked_earlier_has_overtaken_it() -> None:
    turned = {
        "w3/1": Wait(3, frozenset({2, 4}), "tuple", "accounts"),
        "w4/1": Wait(4, frozenset({2}), "transactionid"),
    }
    assert found(QUEUE, turned, "w2/1") == "w4/1"


def test_who_waited_for_another_row_has_overtaken_nobody() -> None:
    before = {"w2/1": HOLDER, "w3/1": Wait(3, frozenset({9}), "transactionid")}
    assert not found(before, {"w2/1": HOLDER}, "w3/1")
    assert not has_queue(before)


def test_two_who_wait_for_one_row_are_a_queue() -> None:
    assert has_queue(QUEUE)
