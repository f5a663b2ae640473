"""Bytes of an h5ad, as the page's reader of HDF5 asks for them."""

import pytest

WORKER = {"Referer": "http://localhost/static/js/utils/h5Utils_worker.js"}


@pytest.mark.parametrize(
    ("header", "status", "cut"),
    [
        ("bytes=0-99", 206, slice(0, 100)), ("bytes=10-10", 206, slice(10, 11)), ("bytes=0-", 206, slice(0,
        None)),
        ("bytes=-5", 206, slice(-5, None)), ("bytes=100-999999999999", 206, slice(100, None)),
        ("bytes=-999999999", 206, slice(0, None)), ("x", 200, slice(0, None)), ("bytes=", 200, slice(0,
        None)),
        ("bytes=-", 200, slice(0, None)), ("bytes=5-2", 200, slice(0, None)), ("items=0-5", 200, slice(0,
        None)),
        ("bytes=0-1,5-9", 200, slice(0, None)), ("bytes=a-b", 200, slice(0, None)), (None, 200, slice(0,
        None)),
        ("bytes=999999999-", 416, None), ("bytes=-0", 416, None), ("bytes=" + "9" * 30 + "-", 200, slice(0,
        None)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("at", ["/a.h5ad", "/b.h5ad?path=sub", "/sub/b.h5ad"])
def test_bytes_of_an_h5ad_are_given_by_ranges(folder, client, at, header, status, cut):
    content = (folder / "a.h5ad").read_bytes()
    answer = client.get(at, headers=WORKER | ({"Range": header} if header else {}))
    assert answer.status_code == status
    if cut is None:
        assert answer.headers["Content-Range"] == f"bytes */{len(content)}"
    else:
        assert answer.data == content[cut]
        assert int(answer.headers["Content-Length"]) == len(content[cut])
    head = client.head(at, headers=WORKER)
    assert (head.status_code, head.headers["Accept-Ranges"]) == (200, "bytes")
    assert int(head.headers["Content-Length"]) == len(content)


def test_a_file_of_any_size_is_given_in_pieces(folder, client):
    import tracemalloc

    with (folder / "big.h5ad").open("wb") as file:
        file.truncate(2**31)
    tracemalloc.start()
    answer = client.get("/big.h5ad", headers=WORKER | {"Range": "bytes=0-"}, buffered=False)
    first = next(answer.iter_encoded())
    answer.close()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(first) <= 2**20
    assert peak < 2**24
    assert int(answer.headers["Content-Length"]) == 2**31
