"""Each adapter against its vendor's documented wire format; `golden/README.md` describes the files."""

import json
from pathlib import Path

import httpx
import pytest

from providers.adapters import ADAPTERS
from providers.types import EmbedRequest
from tests.providers.goldens import (
    CASES,
    FAILURES,
    GOLDEN,
    HALVES,
    KEY,
    adapter_of,
    built,
    decoded,
    having,
    named,
    pretty,
    read,
    replayed,
    request_of,
    require_silent,
    shown_failure,
    target_of,
    understood,
)

every = pytest.mark.parametrize


@every("case", CASES, ids=named)
def test_a_case_is_whole(case: Path) -> None:
    call, files = case.name.partition("-")[0], {file.name for file in case.iterdir()} - {"provider.json"}
    assert call in HALVES, "a case is named after its call"
    first, *second = HALVES[call]
    allowed = [first, *(first | half for half in second)]
    allowed += (
        second if call != "embed" else []
    )  # what answers an embedding depends on how many were asked for
    assert files in allowed, "half of a half, or a file without a place"


@every("kind", ADAPTERS)
def test_every_kind_has_cases_of_all_it_does(kind: str) -> None:
    calls = {"chatStream": "stream"}
    for capability in ADAPTERS[kind].capabilities:
        call = calls.get(capability, capability)
        assert {"request.json", "reply.json"} <= {f.name for f in GOLDEN.glob(f"{kind}/{call}-*/*")}
    assert any(case.parent.name == kind for case in having("reply.json", "models"))
    assert any(path.parent.name == kind for path in FAILURES)


def test_every_directory_is_a_kind_and_every_file_has_a_place() -> None:
    assert {path.name for path in GOLDEN.iterdir() if path.is_dir()} == set(ADAPTERS)
    assert {path for path in GOLDEN.glob("*/*") if path.is_file()} == set(FAILURES)


@every("case", having("sent.json"), ids=named)
def test_the_provider_gets_what_it_documents_and_nothing_else(case: Path) -> None:
    request = built(case)
    headers = {k: v for k, v in request.headers.items() if k not in ("host", "content-length")}
    sent = {"method": request.method, "url": str(request.url), "headers": headers}
    if request.content:
        sent["payload"] = json.loads(request.content)
    assert pretty(sent) == pretty(read(case / "sent.json"))


@every("case", having("answer.json"), ids=named)
def test_an_answer_is_understood(case: Path) -> None:
    assert pretty(understood(case, (case / "answer.json").read_bytes())) == pretty(read(case / "reply.json"))


@every("case", having("answer.sse"), ids=named)
def test_a_stream_says_the_same_wherever_its_bytes_are_cut(case: Path) -> None:
    adapter, raw = adapter_of(case), (case / "answer.sse").read_bytes()
    expected = read(case / "reply.json")
    assert pretty(replayed(adapter, [raw])) == pretty(expected)
    assert replayed(adapter, (raw[n : n + 1] for n in range(len(raw)))) == expected
    for cut in range(1, len(raw)):
        assert replayed(adapter, [raw[:cut], raw[cut:]]) == expected, f"cut at {cut}"


@every("case", having("refused.json"), ids=named)
def test_what_a_kind_cannot_do_is_named(case: Path) -> None:
    assert adapter_of(case).unsupported(request_of(case)) == read(case / "refused.json")["field"]


@every("path", FAILURES, ids=named)
def test_a_failure_is_classified_and_the_providers_words_are_not_kept(path: Path) -> None:
    said = read(path)
    body = said["body"] if isinstance(said["body"], str) else json.dumps(said["body"])
    error = ADAPTERS[path.parent.name].failure(said["status"], httpx.Headers(said["headers"]), body.encode())
    assert shown_failure(error) == said["failure"]
    require_silent(error, body.encode())


@every("kind", ADAPTERS)
def test_the_key_travels_in_one_header_and_shows_nowhere(kind: str) -> None:
    adapter, target = ADAPTERS[kind], target_of(GOLDEN / kind / "any")
    hello = decoded({"messages": [{"role": "user", "content": "hello"}]})
    requests = [
        adapter.build_chat(hello, target, stream=True),
        adapter.build_chat(hello, target, stream=False),
        adapter.build_discovery(target.provider),
    ]
    if "embed" in adapter.capabilities:
        requests.append(adapter.build_embed(EmbedRequest(inputs=("hello",)), target))
    for request in requests:
        carriers = [name for name, value in request.headers.items() if KEY in value]
        assert carriers == ["x-api-key" if kind == "anthropic" else "authorization"]
        assert KEY not in f"{request!r} {request.url} {target!r} {target.provider!r} {request.content!r}"
