from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lesionforge.engine.permutation import Permutation


@given(st.integers(1, 3000), st.binary(max_size=16))
def test_it_is_a_bijection(n, key):
    p = Permutation(n, key)
    assert sorted(p(i) for i in range(n)) == list(range(n))


@given(st.integers(1, 2**62), st.integers(0, 2**62), st.binary(max_size=8))
def test_it_stays_inside_for_any_size(n, i, key):
    assert 0 <= Permutation(n, key)(i % n) < n


def test_every_place_is_reached_from_everywhere_alike():
    """Position of element 0 over many keys: chi-square against uniform (16 places, 99.9 % quantile 37.7)."""
    places = Counter(Permutation(16, str(k).encode())(0) for k in range(8000))
    assert sum((places[i] - 500) ** 2 / 500 for i in range(16)) < 37.7


def test_neighbours_do_not_stay_neighbours():
    p = Permutation(10_000, b"x")
    assert sum(abs(p(i + 1) - p(i)) < 100 for i in range(9999)) < 400  # about 200 expected


def test_outside_is_refused():
    with pytest.raises(IndexError, match=r"5 is outside 0 \.\.\. 4"):
        Permutation(5, b"")(5)
