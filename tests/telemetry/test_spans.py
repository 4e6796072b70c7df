"""What a finished call is as spans: names by the conventions, times and parents, never content."""

from typing import Any, NamedTuple

import pytest

from telemetry.spans import EndedCall, measured, spans_of

AT = 1_700_000_000.0


class Attempt(NamedTuple):
    provider: str
    model: str
    duration_ms: int
    classification: str | None = None
    reason: str | None = None
    status: int | None = None


FAILED = Attempt("first", "m-1", 100, "TEMPORARY", "UPSTREAM_UNREACHABLE", 503)
ANSWERED = Attempt("second", "m-2", 300)


def ended(**more: Any) -> EndedCall:
    facts: dict[str, Any] = {
        "method": "chat",
        "call_id": "c",
        "tool_id": "bob",
        "outcome": "ok",
        "status": 200,
    }
    facts |= {
        "started_at": AT,
        "duration_ms": 500.0,
        "trace_id": "t" * 32,
        "parent": "p" * 16,
        "span": "s" * 16,
    }
    facts |= {
        "sampled": True,
        "attempts": [FAILED, ANSWERED],
        "began": [("a" * 16, AT), ("b" * 16, AT + 0.15)],
    }
    facts |= {"kinds": {"first": "lmstudio", "second": "openai"}, "labels": ("second", "m-2")}
    facts |= {"input_tokens": 7, "output_tokens": 3}
    return EndedCall(**(facts | {"tokens_reported": True} | more))


def test_a_call_is_a_span_and_each_attempt_one_below_it() -> None:
    call, first, second = spans_of(ended())
    assert (call.name, call.kind, call.parent, call.remote_parent) == ("chat m-2", "server", "p" * 16, True)
    assert (call.start, call.end, call.error) == (round(AT * 1e9), round((AT + 0.5) * 1e9), False)
    assert call.attributes == {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "m-2",
        "gen_ai.response.model": "m-2", "gen_ai.usage.input_tokens": 7, "gen_ai.usage.output_tokens": 3,
        "llm_caller.call.id": "c", "llm_caller.client": "bob", "llm_caller.outcome": "ok",
        "llm_caller.provider": "second", "http.response.status_code": 200,
    }  # fmt: skip
    assert [span.parent for span in (first, second)] == ["s" * 16] * 2
    assert [span.span for span in (first, second)] == ["a" * 16, "b" * 16]
    assert [span.kind for span in (first, second)] == ["client"] * 2
    assert [span.error for span in (first, second)] == [True, False]
    assert first.attributes == {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "lmstudio", "gen_ai.request.model": "m-1",
        "llm_caller.provider": "first", "error.type": "UPSTREAM_UNREACHABLE", "http.response.status_code": 503,
    }  # fmt: skip
    assert (second.start, second.end) == (round((AT + 0.15) * 1e9), round((AT + 0.45) * 1e9))
    assert second.attributes["gen_ai.usage.output_tokens"] == 3


def test_a_stream_s_answering_attempt_lasts_to_the_end_of_the_call() -> None:
    call, _, second = spans_of(ended(method="chatStream", first_event_ms=450, finish_reason="stop"))
    assert second.end == call.end
    assert call.attributes["gen_ai.request.stream"] is True
    assert call.attributes["gen_ai.response.time_to_first_chunk"] == 0.45
    assert call.attributes["gen_ai.response.finish_reasons"] == ["stop"]


@pytest.mark.parametrize("method", ["chat", "chatStream"])
@pytest.mark.parametrize("answered", [ANSWERED, Attempt("second", "m-2", 301), Attempt("second", "m-2", 90)])
def test_no_attempt_outlasts_its_call(method: str, answered: Attempt) -> None:
    """Attempts last whole ms, calls do not."""
    began = [("a" * 16, AT), ("b" * 16, AT + 0.2)]
    call, *attempts = spans_of(
        ended(method=method, duration_ms=500.4, attempts=[FAILED, answered], began=began)
    )
    assert all(call.start <= span.start <= span.end <= call.end for span in attempts)


def test_a_model_that_a_client_made_up_names_its_span_and_labels_no_metric() -> None:
    made_up = ended(labels=("second", "other"))
    assert spans_of(made_up)[0].attributes["gen_ai.request.model"] == "m-2"
    assert {one.attributes["gen_ai.request.model"] for one in measured(made_up)} == {"other"}
    assert {one.attributes["llm_caller.provider"] for one in measured(made_up)} == {"second"}


def test_embeddings_have_their_own_operation() -> None:
    assert spans_of(ended(method="embed"))[0].name == "embeddings m-2"


@pytest.mark.parametrize(
    ("outcome", "attempts", "error"),
    [
        ("TEMPORARY", [FAILED], True),
        ("INTERNAL_ERROR", [], True),
        ("BAD_REQUEST", [], False),
        ("RATE_LIMIT", [], False),
    ],
)
def test_a_fault_of_ours_or_a_provider_s_is_an_error_and_a_client_s_is_none(
    outcome: str, attempts: list[Attempt], error: bool
) -> None:
    began = [("a" * 16, AT)][: len(attempts)]
    call, *rest = spans_of(ended(outcome=outcome, status=503, attempts=attempts, began=began))
    assert (call.error, call.attributes["error.type"]) == (error, outcome)
    assert "gen_ai.response.model" not in call.attributes
    assert len(rest) == len(attempts)
    assert call.name == ("chat m-1" if attempts else "chat")


def test_what_asks_no_model_is_no_span() -> None:
    for method in ("models", "getHealth", ""):
        assert spans_of(ended(method=method, attempts=[], began=[])) == []
        assert list(measured(ended(method=method))) == []


def test_metrics_are_of_calls_that_asked_a_provider() -> None:
    told = {
        (one.name, one.attributes.get("gen_ai.token.type")): one.value
        for one in measured(ended(first_event_ms=450))
    }
    assert told == {
        ("gen_ai.client.operation.duration", None): 0.5,
        ("gen_ai.client.operation.time_to_first_chunk", None): 0.45,
        ("gen_ai.client.token.usage", "input"): 7,
        ("gen_ai.client.token.usage", "output"): 3,
    }
    assert list(measured(ended(attempts=[], began=[]))) == []
    (only,) = measured(ended(outcome="TEMPORARY", tokens_reported=False))
    assert only.attributes["error.type"] == "TEMPORARY"
