import pytest

from clients.snippets import base_url, snippets


@pytest.mark.parametrize(
    ("public", "host", "url"),
    [
        ("https://llm.example.org/", "127.0.0.1", "https://llm.example.org"),
        ("", "127.0.0.1", "http://127.0.0.1:4037"),
        ("", "::1", "http://[::1]:4037"),
        ("", "0.0.0.0", "http://127.0.0.1:4037"),
        ("", "::", "http://[::1]:4037"),
        ("", "gateway.lan", "http://gateway.lan:4037"),
    ],
)
def test_the_address_is_one_that_can_be_called(public: str, host: str, url: str) -> None:
    assert base_url(public, host, 4037) == url


@pytest.mark.parametrize(
    ("methods", "chosen"),
    [
        ({"models", "chat", "embed"}, "chat"),
        ({"getHealth", "chatStream"}, "chatStream"),
        ({"getHealth", "models"}, "models"),
        ({"getHealth"}, "getHealth"),
    ],
)
def test_the_most_telling_method_that_is_granted_is_shown(methods: set[str], chosen: str) -> None:
    found = snippets(methods, "t", "bob", "http://x")
    assert found is not None
    assert found.method == chosen


def test_nothing_granted_is_nothing_to_show() -> None:
    assert snippets((), "t", "bob", "http://x") is None
