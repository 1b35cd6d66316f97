"""Short reads of many shards: in order, and by as many threads as a place is worth."""

import threading
import time

import pytest

from lesionforge.sinks import dataset
from lesionforge.sinks.store import Store


@pytest.mark.parametrize(("seconds", "alone"), [(0.0, True), (0.003, False)])
def test_a_disk_that_answers_at_once_is_read_by_one_thread(tmp_path, seconds, alone):
    """Eight threads that never wait take twice the time of one; a folder of a network keeps them."""
    seen = set()

    def read(number):
        seen.add(threading.get_ident())
        time.sleep(seconds)
        return -number

    found = list(dataset.of_each(Store(str(tmp_path)), read, range(100)))
    assert found == [-number for number in range(100)]
    assert (len(seen) == 1) == alone
