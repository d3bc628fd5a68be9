import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contention.checkers.renaming import same_up_to_names
from contention.checkers.serial import equals_a_serial_outcome, serial_orders
from contention.model.outcomes import Outcome, Table

ORDERS = {"id": "orders.id"}
LINES = {"id": "lines.id", "order_id": "orders.id"}


def shop(orders: list[tuple[int, str]], lines: list[tuple[int, int, str]]) -> Outcome:
    return Outcome(
        tables={
            "orders": Table(("id", "customer"), tuple(orders), ORDERS),
            "lines": Table(("id", "order_id", "item"), tuple(lines), LINES),
        }
    )


def test_other_numbers_for_the_same_rows_are_the_same_outcome() -> None:
    left = shop([(1, "ann"), (2, "bob")], [(1, 1, "tea"), (2, 2, "ink")])
    right = shop([(7, "bob"), (9, "ann")], [(3, 9, "tea"), (4, 7, "ink")])
    assert same_up_to_names(left, right)


def test_a_reference_to_another_row_is_another_outcome() -> None:
    left = shop([(1, "ann"), (2, "bob")], [(1, 1, "tea"), (2, 2, "ink")])
    crossed = shop([(1, "ann"), (2, "bob")], [(1, 2, "tea"), (2, 1, "ink")])
    assert not same_up_to_names(left, crossed)


def test_twins_that_only_their_references_tell_apart_are_told_apart() -> None:
    pair = shop([(1, "x"), (2, "x")], [(1, 1, "tea"), (2, 2, "tea")])
    both_on_one = shop([(1, "x"), (2, "x")], [(1, 1, "tea"), (2, 1, "tea")])
    assert not same_up_to_names(pair, both_on_one)


def test_rings_that_look_alike_everywhere_are_told_apart() -> None:
    def ring(edges: list[tuple[int, int]]) -> Outcome:
        names = {"a": "node", "b": "node"}
        return Outcome(tables={"edges": Table(("a", "b"), tuple(edges), names)})

    six = [(1, 2), (2, 3), (3, 4), (4, 5), (5, 6), (6, 1)]
    two_threes = [(1, 2), (2, 3), (3, 1), (4, 5), (5, 6), (6, 4)]
    assert not same_up_to_names(ring(six), ring(two_threes))
    assert same_up_to_names(ring(six), ring([(b + 10, a + 10) for a, b in reversed(six)]))


def test_an_ordinary_column_is_compared_by_value() -> None:
    def stock(left: int) -> Outcome:
        return Outcome(tables={"stock": Table(("item", "left"), (("tea", left),))})

    assert same_up_to_names(stock(1), stock(1))
    assert not same_up_to_names(stock(1), stock(0))


def test_a_missing_value_is_never_a_name() -> None:
    none = Outcome(tables={"t": Table(("id",), ((None,),), {"id": "t.id"})})
    some = Outcome(tables={"t": Table(("id",), ((1,),), {"id": "t.id"})})
    assert not same_up_to_names(none, some)


def test_keys_and_results_are_compared_by_value() -> None:
    assert not same_up_to_names(Outcome(keys={"k": b"1"}), Outcome(keys={"k": b"2"}))
    assert not same_up_to_names(Outcome(results={"w1": 1}), Outcome(results={"w1": 2}))


rows = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5), st.sampled_from("ab")), max_size=5)


@given(rows, st.randoms(use_true_random=False))
def test_any_renaming_is_accepted_and_any_other_row_is_not(
    lines: list[tuple[int, int, str]], rng: random.Random
) -> None:
    new_names = list(range(100, 110))
    rng.shuffle(new_names)
    renamed = [(new_names[a], new_names[b + 5 - 1], item) for a, b, item in lines]
    left, right = shop([], lines), shop([], renamed)
    assert same_up_to_names(left, right)
    assert not same_up_to_names(left, shop([], [*renamed, (999, 999, "c")]))


def test_an_outcome_equals_one_of_the_serial_ones_or_is_wrong() -> None:
    serial = [Outcome(keys={"x": value}) for value in (1, 2)]
    assert equals_a_serial_outcome(Outcome(keys={"x": 2}), serial)
    assert not equals_a_serial_outcome(Outcome(keys={"x": 3}), serial)


def test_three_workers_have_six_orders_and_seven_have_too_many() -> None:
    assert len(list(serial_orders(["a", "b", "c"]))) == 6
    with pytest.raises(ValueError, match=r"5,040 serial orders"):
        serial_orders([str(number) for number in range(7)])
