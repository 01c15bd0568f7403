"""Checksums of what is written, whoever computes them."""

import hashlib
import io

from hypothesis import given
from hypothesis import strategies as st

from a360mdk.transfer import CHUNK, Checksum, HashingWriter

pieces = st.lists(
    st.builds(
        lambda size, start, kind: kind(bytes((start + number) % 251 for number in range(9)) * size),
        st.sampled_from([0, 1, 1000, CHUNK // 9, CHUNK // 9 + 1]),
        st.integers(0, 250),
        st.sampled_from([bytes, bytearray]),
    ),
    max_size=8,
)


@given(pieces)
def test_sink_twin_and_checksum_get_the_same_bytes(written: list[bytes | bytearray]) -> None:
    sink, twin = io.BytesIO(), io.BytesIO()
    writer = HashingWriter(sink, twin=twin)
    expected = b"".join(written)
    for piece in written:
        assert writer.write(piece) == len(piece)
        if isinstance(piece, bytearray):
            piece[:] = b"\0" * len(piece)  # its owner fills it again
    stored = writer.stored()
    assert (stored.size, stored.sha256) == (len(expected), hashlib.sha256(expected).hexdigest())
    assert sink.getvalue() == twin.getvalue() == expected


def test_it_goes_on_after_it_was_asked() -> None:
    checksum = Checksum()
    for piece in (b"a" * CHUNK, b"b"):
        checksum.update(piece)
        checksum.hexdigest()
    assert checksum.hexdigest() == hashlib.sha256(b"a" * CHUNK + b"b").hexdigest()
