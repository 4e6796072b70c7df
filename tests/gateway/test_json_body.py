"""A request body is JSON as strictly as the contract wants it; each mistake has its reason (promise 9)."""

import json
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.edge.json_body import MAX_DEPTH, invalid, require_json
from gateway.errors import Refusal


def reason_of(body: bytes) -> str | None:
    """None when the body is accepted."""
    try:
        require_json(body)
    except Refusal as refused:
        return refused.reason if refused.code == "BAD_REQUEST" else refused.code
    return None


def nested(depth: int, opening: str = "[", closing: str = "]") -> bytes:
    return (opening * depth + "1" + closing * depth).encode()


REFUSED = {
    "INVALID_JSON": [
        b"", b" ", b"\n", b"{", b"}", b"[1,]", b'{"a":1,}', b'{"a"}', b"{'a':1}", b"{a:1}", b"[1 2]", b"{}{}", b"{} x",
        b"[]]", b"nul", b"True", b"undefined", b'"open', b'"\x01"', b'"a\nb"', b'"\x00"', b'"\\x"', b'"\\u12"', b'"\\u12G4"',
        b"01", b"+1", b"1.", b".5", b"1e", b"0x10", b"--1", b"NaN", b"Infinity", b"-Infinity", b'[{"a":NaN}]', b"// x\n1",
        b"/**/1", b"\x0c1", b"1\x00", "\u00a01".encode(), b'{"a":1}\x00', "1".encode("utf-16-le"), '{"a":1}'.encode("utf-32-be"),
    ],
    "INVALID_ENCODING": [
        b"\xef\xbb\xbf{}", '{"a":1}'.encode("utf-16"), b"\xff\xfe", b'"\xff"', b'"\xc3"', b'"\xc0\x80"', b'"\xed\xa0\x80"',
        b'"\xf5\x80\x80\x80"', '"ä"'.encode("latin-1"), b"\x80",
    ],
    "DUPLICATE_KEY": [
        b'{"a":1,"a":1}', b'{"a":1,"b":2,"a":3}', b'[{"x":{"y":[{"a":1,"a":2}]}}]', b'{"a":1,"\\u0061":2}', b'{"":1,"":2}',
    ],
    "JSON_TOO_DEEP": [
        nested(MAX_DEPTH + 1), nested(MAX_DEPTH + 1, '{"a":', "}"), nested(33, '[{"a":', "}]"), nested(100_000), b"[" * 100_000,
    ],
    "INVALID_UNICODE": [
        b'"\\u0000"', b'"\\ud800"', b'"\\uDBFF"', b'"\\udc00"', b'"\\uDFFF"', b'"\\ud83d\\ud83d"', b'"\\ude00\\ud83d"',
        b'"\\ud83d x \\ude00"', b'{"\\u0000":1}', b'[[{"a":["\\ud83d"]}]]', b'"\\\\\\u0000"',
    ],
    "NUMBER_OUT_OF_RANGE": [b"1e999", b"-1e999", b'{"a":[1E400]}', b"1" * 5000, b"-" + b"9" * 4301, b"2e308"],
}  # fmt: skip
ACCEPTED = [
    b"1", b"null", b'"a"', b"{}", b" \t\r\n{ } \n", b"-0", b"1e308", b"1e-999", b"9" * 4300, b"1.7976931348623157e308",
    b'"\\ud83d\\ude00"', b'"\\\\u0000"', b'"\\\\ud800"', b'"\\u00e4\\/\\b"', '"ä\u2028\u202e🙂\x7f"'.encode(),
    b'{"a":{"a":{"a":1}}}', b'[{"a":1},{"a":1}]', b'{"a":1,"A":1}', nested(MAX_DEPTH), nested(MAX_DEPTH, '{"a":', "}"),
    nested(MAX_DEPTH // 2, '[{"a":', "}]"), json.dumps("[{" * 500).encode(), json.dumps(['"[' * 200, '\\"[{' * 200]).encode(),
    json.dumps({'{"[' * 100: []}).encode(), b"[" + b"[]," * 1000 + b"{}]", b'["\\\\", [["\\""]]]',
]  # fmt: skip


@pytest.mark.parametrize(
    ("reason", "body"), [(reason, body) for reason, bodies in REFUSED.items() for body in bodies]
)
def test_a_bad_body_is_refused_with_its_reason(reason: str, body: bytes) -> None:
    assert reason_of(body) == reason


@pytest.mark.parametrize("body", ACCEPTED)
def test_whatever_is_json_within_the_rules_is_accepted(body: bytes) -> None:
    assert reason_of(body) is None


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5),
    max_leaves=30,
)


@given(VALUES, st.booleans(), st.sampled_from([None, 2]))
def test_any_value_within_the_rules_is_accepted(value: Any, ascii_only: bool, indent: int | None) -> None:
    assert reason_of(json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()) is None


@given(st.binary(max_size=100) | st.text('[]{}",:\\u0d8 1e9', max_size=60).map(str.encode))
def test_any_bytes_get_a_reason_or_are_json(body: bytes) -> None:
    if reason_of(body) is None:
        json.loads(body)


@given(VALUES, st.integers(0, 200))
def test_a_body_cut_short_is_never_accepted_for_the_whole(value: Any, at: int) -> None:
    body = json.dumps([value]).encode()
    assert at >= len(body) or reason_of(body[:at]) is not None


class Asked(msgspec.Struct, forbid_unknown_fields=True):
    n: Annotated[int, msgspec.Meta(ge=1)] = 1
    inner: list[dict[str, str]] = []


@pytest.mark.parametrize(
    ("body", "reason", "path"),
    [
        (b'{"n":0}', "VALIDATION_FAILED", "n"),
        (b'{"n":"x"}', "VALIDATION_FAILED", "n"),
        (b'{"other":1}', "VALIDATION_FAILED", "other"),
        (b'{"inner":[{},{"a":5}]}', "VALIDATION_FAILED", "inner[1][...]"),
        (b"[]", "VALIDATION_FAILED", ""),
        (b'{"n":1e400}', "NUMBER_OUT_OF_RANGE", "n"),
    ],
)
def test_the_decoder_s_complaint_names_the_place_and_no_value(body: bytes, reason: str, path: str) -> None:
    with pytest.raises(msgspec.ValidationError) as error:
        msgspec.json.decode(body, type=Asked)
    refused = invalid(error.value)
    assert (refused.code, refused.reason) == ("BAD_REQUEST", reason)
    (detail,) = refused.details
    assert detail.path == path
    assert "canary" not in detail.message


class Choosy(msgspec.Struct):
    how: Literal["this", "that"]


@pytest.mark.parametrize("value", ["s3cret", "it's s3cret", "s3cret - at `$.x`", "'\" s3cret"])
def test_no_value_of_the_request_is_told(value: str) -> None:
    with pytest.raises(msgspec.ValidationError) as error:
        msgspec.json.decode(json.dumps({"how": value}), type=Choosy)
    (detail,) = invalid(error.value).details
    assert (detail.path, detail.message) == ("how", "This is none of the values that are allowed here")
