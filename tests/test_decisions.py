"""Every call's record tells why it went where it went, or where it was refused; and a limit of calls at once holds."""

import concurrent.futures
from pathlib import Path
from typing import Any

import pytest
from conftest import BOB, CHARLIE, RunningGateway, chat_body, provider_entry, registry, running_gateway
from fake_provider import FakeProvider


def decision(gateway: RunningGateway, answer: Any) -> dict[str, Any]:
    call_id = answer.headers["x-llm-caller-call-id"]
    (row,) = gateway.wait_for_records(1, call_id=call_id)
    told: dict[str, Any] = row["decision"]
    return told


def test_the_record_tells_candidates_limits_and_where_a_call_was_refused(
    tmp_path: Path, fake: FakeProvider
) -> None:
    providers = {
        "lmstudio_a": provider_entry(fake.url, scores={"chat": 90}),
        "b": provider_entry(fake.url, defaults={}),
        "off": provider_entry(fake.url, enabled=False),
    }
    limited = {
        "toolId": "dora",
        "token": "dora-token",
        "allowedMethods": ["chat"],
        "rateLimit": {"maxRequests": 1, "intervalMs": 60_000},
    }
    with running_gateway(tmp_path, {"providers": providers}, registry(limited)) as gateway:
        served = decision(gateway, gateway.chat(token="dora-token"))
        considered = served["routing"]["considered"]
        assert [one["provider"] for one in considered] == ["lmstudio_a", "b", "off"]
        assert considered[0] == {
            "provider": "lmstudio_a", "model": "echo", "score": 90, "bonus": 50, "health": "ok",
        }  # fmt: skip
        assert considered[2]["excluded"] == "DISABLED"
        assert served["rate"] == {
            "maxRequests": 1, "intervalMs": 60_000, "remaining": 0, "granted": True, "own": True,
        }  # fmt: skip
        assert "stage" not in served

        limited_now = decision(gateway, gateway.chat(token="dora-token"))
        assert (limited_now["stage"], limited_now["rate"]["granted"]) == ("limits", False)
        assert decision(gateway, gateway.chat(token=CHARLIE)) == {"stage": "permission"}
        assert decision(gateway, gateway.chat(colour="red")) == {"stage": "body"}
        unknown = decision(gateway, gateway.chat(provider="nobody"))
        assert (unknown["stage"], unknown["routing"]["error"]) == ("routing", "UNKNOWN_PROVIDER")
        failed = decision(gateway, gateway.chat(provider="b", model="status-500"))
        assert failed["stage"] == "attempts"
        passed_over = decision(gateway, gateway.chat(tools=TOOLS, toolChoice={"name": "f"}))
        assert passed_over["unable"] == {"lmstudio_a": "toolChoice"}


def test_the_record_tells_why_a_full_provider_was_passed_over(tmp_path: Path, fake: FakeProvider) -> None:
    providers = {
        "lmstudio_a": provider_entry(fake.url, scores={"chat": 90}, maxConcurrency=1),
        "b": provider_entry(fake.url),
    }
    with (
        running_gateway(tmp_path, {"providers": providers}) as gateway,
        gateway.stream(model="endless", provider="lmstudio_a") as holding,
    ):
        chunks = holding.iter_bytes()  # kept: with its iterator, httpx closes the connection
        assert next(chunks)
        answer = gateway.chat()
        info = answer.json()["providerInfo"]
        assert (info["name"], info["routing"]["strategy"]) == ("b", "capability-default")
        assert info["routing"]["attempts"] == 1, "the full one was not called"
        assert decision(gateway, answer)["busy"] == ["lmstudio_a"]


TOOLS = [{"name": "f", "parameters": {"type": "object"}}]


def test_no_more_calls_at_once_than_a_client_is_given(tmp_path: Path, fake: FakeProvider) -> None:
    narrow = {
        "toolId": "dora",
        "token": "dora-token",
        "allowedMethods": ["chat", "chatStream"],
        "maxConcurrency": 2,
    }
    providers = {"providers": {"lmstudio_a": provider_entry(fake.url)}}
    with running_gateway(tmp_path, providers, registry(narrow)) as gateway:
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            asked = [
                pool.submit(gateway.chat, provider="lmstudio_a", model="slow-2s", token="dora-token")
                for _ in range(6)
            ]
            answers = [one.result() for one in asked]
        statuses = sorted(answer.status_code for answer in answers)
        assert statuses == [200, 200, 429, 429, 429, 429]
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.json()["reason"] == "TOO_MANY_AT_ONCE"
        assert refused.json()["message"] == "Too many requests; slow down."
        assert decision(gateway, refused)["concurrency"] == {"most": 2, "granted": False}
        # Each way a call can end gives its place back: answered, failed, refused later, the client gone.
        for _ in range(3):
            assert (
                gateway.chat(provider="lmstudio_a", model="status-500", token="dora-token").status_code == 503
            )
            with gateway.stream(provider="lmstudio_a", model="endless", token="dora-token"):
                pass
            assert gateway.chat(token="dora-token").status_code == 200
        assert gateway.chat(token=BOB).status_code == 200
        line = gateway.wait_for_lines("Rate limit exceeded")[0]
        assert len(line["metadata"]["tokenHash"]) == 16


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(
    ("header", "kept"),
    [
        ({"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}, TRACE),
        ({"traceparent": f"00-{TRACE.upper()}-00f067aa0ba902b7-01"}, None),
        ({}, None),
    ],
)
@pytest.mark.parametrize("body", [chat_body(), chat_body(colour="red")], ids=["answered", "refused"])
def test_the_trace_that_a_client_s_call_belongs_to_is_kept_beside_the_provider_s_id(
    shared: RunningGateway, body: dict[str, Any], header: dict[str, str], kept: str | None
) -> None:
    answer = shared.post("/mcp/chat", body, **header)
    (row,) = shared.wait_for_records(1, call_id=answer.headers["x-llm-caller-call-id"])
    assert row["decision"].get("traceId") == kept
    assert ("traceId" in row["decision"]) is (kept is not None)
    assert row["trace_id"] == answer.json()["traceId"], "the contract's is the provider's, or the call's"
