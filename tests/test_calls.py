"""Chat, embeddings, models and health, end to end."""

import re
from typing import Any

import pytest
from conftest import BOB, CHARLIE, RunningGateway
from fake_provider import FakeProvider

from clients.tokens import mint

UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def test_bob_chats_and_gets_the_contract_s_answer(shared: RunningGateway) -> None:
    response = shared.chat("hello")
    assert response.status_code == 200
    answer = response.json()
    assert set(answer) == {"requestId", "traceId", "message", "usage", "providerInfo"}
    assert answer["requestId"] == "r-1"
    assert answer["message"] == {"role": "assistant", "content": "echo: hello"}
    assert answer["usage"]["totalTokens"] == answer["usage"]["inputTokens"] + answer["usage"]["outputTokens"]
    assert answer["providerInfo"] == {
        "name": "lmstudio_fake",
        "model": "echo",
        "finishReason": "stop",
        "routing": {"capability": "chat", "strategy": "capability-default", "attempts": 1},
    }
    assert UUID7.fullmatch(response.headers["x-llm-caller-call-id"])


def test_charlie_may_not_chat_and_the_provider_is_not_asked(
    shared: RunningGateway, shared_fake: FakeProvider
) -> None:
    before = len(shared_fake.hits_for("echo"))
    response = shared.chat(token=CHARLIE)
    assert response.status_code == 403
    assert response.json()["message"] == "Client not permitted to call chat"
    assert len(shared_fake.hits_for("echo")) == before


def test_embeddings_come_back_in_the_order_of_their_inputs(shared: RunningGateway) -> None:
    body = {"requestId": "e-1", "callerTool": "bob", "inputs": ["a", "b", "c"], "model": "reverse-embed"}
    reversed_answer = shared.post("/mcp/embed", body | {"provider": "lmstudio_fake"}).json()
    plain = shared.post("/mcp/embed", body | {"model": "embed-3"}).json()
    assert reversed_answer["vectors"] == plain["vectors"]
    assert len(plain["vectors"]) == 3


def test_a_named_provider_is_the_caller_s_override(shared: RunningGateway) -> None:
    routing = shared.chat(provider="lmstudio_fake").json()["providerInfo"]["routing"]
    assert routing["strategy"] == "caller-override"


def test_models_lists_what_bob_may_use(shared: RunningGateway) -> None:
    answer = shared.get("/mcp/models").json()
    assert answer["provider"] == "lmstudio_fake"
    assert {
        "id": "echo",
        "ready": True,
        "description": "Default model",
        "defaults": ["chat", "chatStream"],
    } in answer["models"]
    (provider,) = answer["providers"]
    assert set(provider) == {"name", "capabilities", "defaults", "scores", "status", "models"}
    assert shared.get("/mcp/models?provider=nobody").json()["reason"] == "UNKNOWN_PROVIDER"


def test_health_tells_every_part_and_what_the_provider_covers(shared: RunningGateway) -> None:
    answer = shared.get("/health", token=CHARLIE).json()
    parts = {component["name"]: component for component in answer["components"]}
    assert set(parts) == {"transport", "orchestrator", "audit", "database", "provider:lmstudio_fake"}
    coverage = parts["provider:lmstudio_fake"]["capabilityCoverage"]
    assert {row["capability"] for row in coverage} == {"chat", "chatStream", "embed"}


def test_an_unknown_model_is_a_404(shared: RunningGateway) -> None:
    response = shared.chat(model="no-such-model")
    assert (response.status_code, response.json()["reason"]) == (404, "UNKNOWN_MODEL")


def test_every_answered_and_every_refused_call_is_on_record_within_two_seconds(
    shared: RunningGateway,
) -> None:
    served = shared.chat("remember me", requestId="on-record").headers["x-llm-caller-call-id"]
    refused = shared.chat(token=CHARLIE).headers["x-llm-caller-call-id"]
    (row,) = shared.wait_for_records(1, call_id=served)
    assert (row["outcome"], row["status"], row["tool_id"], row["request_id"]) == (
        "ok",
        200,
        "bob",
        "on-record",
    )
    (row,) = shared.wait_for_records(1, call_id=refused)
    assert (row["outcome"], row["status"], row["tool_id"]) == ("FORBIDDEN", 403, "charlie")
    assert "remember me" not in str(shared.records())


def test_a_token_put_where_a_name_belongs_is_answered_but_neither_recorded_nor_logged(
    shared: RunningGateway,
) -> None:
    token = mint().text
    answer = shared.chat("hello", requestId=f"run of {token}", callerTool=f"{token}{token}")
    assert answer.json()["requestId"] == f"run of {token}"
    refused = shared.chat("hello", requestId=token, messages="none")
    assert refused.status_code == 400
    (row,) = shared.wait_for_records(1, call_id=answer.headers["x-llm-caller-call-id"])
    assert (row["request_id"], row["claimed_tool"]) == ("run of [redacted]", "[redacted][redacted]")
    assert row["sanitised"] == {"redacted": 3}
    (row,) = shared.wait_for_records(1, call_id=refused.headers["x-llm-caller-call-id"])
    assert (row["request_id"], row["sanitised"]) == ("[redacted]", {"redacted": 1})
    warned = shared.wait_for_lines("Sensitive log metadata redacted", 2)
    assert [line["metadata"]["keys"] for line in warned[-2:]] == [["callerTool", "requestId"], ["requestId"]]
    assert token not in shared.stdout.read_text()


@pytest.mark.parametrize("path", ["/mcp/chat", "/mcp/chatStream", "/mcp/embed"])
@pytest.mark.parametrize("valid", [True, False])
def test_the_very_token_that_bob_showed_stays_out_of_record_and_log(
    shared: RunningGateway, path: str, valid: bool
) -> None:
    body: dict[str, Any] = {"requestId": f"run {BOB} of {BOB}", "callerTool": f"the tool {BOB}"}
    body |= {"inputs": ["a"]} if path.endswith("embed") else {"messages": [{"role": "user", "content": "hi"}]}
    answer = shared.post(path, body if valid else body | {"colour": "red"})
    assert answer.status_code == (200 if valid else 400)
    (row,) = shared.wait_for_records(1, call_id=answer.headers["x-llm-caller-call-id"])
    assert (row["request_id"], row["claimed_tool"]) == ("run [redacted] of [redacted]", "the tool [redacted]")
    assert row["sanitised"] == {"redacted": 3}
    assert BOB not in shared.stdout.read_text()


def test_a_token_cut_short_in_a_name_is_not_recorded_either(shared: RunningGateway) -> None:
    cut = mint().text[:-6]
    answer = shared.chat("hello", requestId=f"run of {cut}")
    assert answer.json()["requestId"] == f"run of {cut}"
    (row,) = shared.wait_for_records(1, call_id=answer.headers["x-llm-caller-call-id"])
    assert (row["request_id"], row["sanitised"]) == ("run of [redacted]", {"redacted": 1})
    assert cut not in shared.stdout.read_text()
