# SPDX-License-Identifier: Apache-2.0
"""The page pool: block tables and page lists, sharing, running out of pages, figures."""
import numpy as np
import pytest

import tpac


def test_tables_and_lists():
    pool = tpac.PagePool(8, 4, page_bytes=100)
    assert pool.page_size == 4
    one, two = pool.add(), pool.add()
    assert pool.append(one, 5) is None and pool.append(two, 8) is None
    table, lengths = pool.block_table([two, one], columns=3)
    assert table.dtype == lengths.dtype == np.int32 and table.shape == (2, 3)
    assert lengths.tolist() == [8, 5] and table[:, 2].tolist() == [-1, -1]
    start, pages, last = pool.page_list([two, one])
    assert start.tolist() == [0, 2, 4] and last.tolist() == [4, 1]
    assert pages.tolist() == [*table[0, :2], *table[1, :2]]
    assert len(set(pages.tolist())) == 4

    own, own_lengths = np.zeros((2, 3), np.int32), np.zeros(2, np.int32)
    pool.write_block_table([two, one], own, own_lengths)
    assert np.array_equal(own, table) and np.array_equal(own_lengths, lengths)
    with pytest.raises(tpac.InvalidArgument, match="table has 2 rows and lengths 2; expected 1 of both"):
        pool.write_block_table([two], own, own_lengths)
    with pytest.raises(tpac.InvalidArgument, match="columns"):
        pool.block_table([two], columns=1)


def test_sharing_and_figures():
    pool = tpac.PagePool(4, 4, page_bytes=100)
    parent = pool.add()
    pool.append(parent, 7)
    child = pool.fork(parent)
    copy = pool.append(child, 1)
    assert (copy.tokens, copy.source) == (3, pool.page_list([parent])[1][1]) and copy.destination != copy.source
    figures = pool.statistics
    assert (figures.requests, figures.pages, figures.free_pages, figures.shared_pages) == (2, 4, 1, 1)
    assert (figures.request_tokens, figures.used_bytes, figures.shared_bytes) == (15, 300, 100)
    pool.truncate(child, 2)
    assert pool.length(child) == 2
    pool.remove(parent)
    assert pool.statistics.free_pages == 3
    with pytest.raises(tpac.InvalidArgument):
        pool.length(parent)


def test_running_out_changes_nothing():
    pool = tpac.PagePool(2, 4)
    request = pool.add()
    pool.append(request, 5)
    with pytest.raises(tpac.OutOfPages, match="pages") as caught:
        pool.append(request, 4)
    assert caught.value.status == 4
    assert pool.length(request) == 5 and pool.append(request, 3) is None
