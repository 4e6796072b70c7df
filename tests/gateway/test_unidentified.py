"""What a request that is refused before its token is told to be in the log."""

import pytest

from clients.tokens import mint
from gateway.edge.unidentified import MOST_METHOD, MOST_PATH, Sent

OWN = mint().text
FOREIGN = "sk+foreign/token=="


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/mcp/nope?q=canary", "/mcp/nope"),
        (b"/mcp/ch%61t", "/mcp/ch%61t"),
        (b"/a\x1b[2Jb\nc\x7f", "/a\\x1b[2Jb\\x0ac\\x7f"),
        ("/\u202etxt.\u00e9".encode(), "/\\xe2\\x80\\xaetxt.\\xc3\\xa9"),
        (b"/mcp/" + OWN.encode() + b"/x", "/mcp/[redacted]/x"),
        (b"/mcp/" + OWN.replace("_", "%5F").encode() + b"%0a", "/mcp/[redacted]\\x0a"),
        (b"/mcp/" + FOREIGN.encode(), "/mcp/[redacted]"),
        (b"/mcp/sk%2Bforeign%2ftoken%3D%3D", "/mcp/[redacted]"),
        (b"", ""),
    ],
    ids=[
        "query",
        "escaped",
        "control",
        "not ASCII",
        "own",
        "own escaped",
        "foreign",
        "foreign escaped",
        "none",
    ],
)
def test_a_path_is_told_without_query_tokens_and_what_a_terminal_acts_on(target: bytes, path: str) -> None:
    headers = [(b"authorization", f"Bearer {FOREIGN}".encode()), (b"x-other", b"txt.")]
    assert Sent("GET", target, headers).told() == {"method": "GET", "path": path}


def test_a_long_path_and_a_long_method_are_cut_after_their_tokens_were_found() -> None:
    long = b"/" + b"a" * (MOST_PATH - 10) + OWN.encode() + b"b" * 30_000
    told = Sent("X" * 9_000, long, ()).told()
    assert (len(told["method"]), len(told["path"])) == (MOST_METHOD, MOST_PATH)
    assert told["path"].endswith("a[redac...")


def test_a_scope_without_anything_is_told_as_nothing() -> None:
    assert Sent.of({}).told() == {"method": "", "path": ""}
    assert Sent.of({"method": "GET", "path": "/a"}).told() == {"method": "GET", "path": "/a"}
