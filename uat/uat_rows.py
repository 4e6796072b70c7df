"""The rows of the acceptance test: what is sent, and which checks the answer has to pass."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any
from urllib.parse import quote

import contract_checks as contract
import inventory_checks as inventory
import stream_checks
from contract_checks import Answer, Expected
from gateway_client import Gateway, envelope

PROMPT = [{"role": "user", "content": "Say hello in one short sentence."}]
TEXTS = ["The first text.", "The second text."]
NO_MODEL, NO_PROVIDER = "uat-no-such-model", "uat-no-such-provider"
METHODS = "chat,chatStream,embed,getHealth,models"
Check = Callable[[Gateway], list[str]]


class Skipped(Exception):
    """A row that does not apply here, and why."""


def ask(**more: Any) -> dict[str, Any]:
    return envelope(messages=PROMPT, maxTokens=32, **more)


def livez(gateway: Gateway) -> list[str]:
    answer = gateway.once("GET", "/livez", X_LLM_Caller_Token="")
    return [] if answer.status == 200 else [contract.said(answer)]


def readyz(gateway: Gateway) -> list[str]:
    answer = gateway.once("GET", "/readyz", X_LLM_Caller_Token="")
    return [] if answer.status == 200 else [f"not ready in time; {contract.said(answer)}"]


def models(gateway: Gateway) -> list[str]:
    answer = gateway.call("GET", "/mcp/models")
    problems = inventory.models(answer)
    if not problems:
        gateway.providers = {entry["name"]: entry["capabilities"] for entry in answer.body["providers"]}
        gateway.note = ", ".join(gateway.providers)
    return problems


def models_of_one(gateway: Gateway) -> list[str]:
    wanted = next(iter(known(gateway)), None)
    if wanted is None:
        raise Skipped("/mcp/models lists no provider")
    gateway.note = wanted
    answer = gateway.call("GET", f"/mcp/models?provider={quote(wanted, safe='')}")
    return inventory.models(answer, wanted)


def capability_defaults(gateway: Gateway) -> list[str]:
    known(gateway)
    listing = gateway.call("GET", "/mcp/models")
    if problems := inventory.models(listing):
        return problems
    told = [
        f"{entry['name']} {entry['defaults']}" for entry in listing.body["providers"] if entry["defaults"]
    ]
    if not told:
        raise Skipped("no provider has `defaults`")
    return inventory.defaults(listing.body)


def known(gateway: Gateway) -> dict[str, list[str]]:
    if gateway.providers is None:
        raise Skipped("/mcp/models did not answer as it should")
    return gateway.providers


def health(gateway: Gateway) -> list[str]:
    return inventory.health(gateway.call("GET", "/health"), gateway.providers or {})


def health_is_ok(gateway: Gateway) -> list[str]:
    answer = gateway.call("GET", "/health")
    if inventory.health(answer, {}):
        raise Skipped("/health did not answer as it should")
    return inventory.unwell(answer.body)


def chat(gateway: Gateway) -> list[str]:
    sent = ask()
    answer = gateway.call("POST", "/mcp/chat", sent)
    problems = contract.chat(answer, sent["requestId"])
    if not problems:
        gateway.note = answered_by(answer)
    return problems


def named_chat(gateway: Gateway) -> list[str]:
    wanted = next((entry for entry, able in known(gateway).items() if "chat" in able), None)
    if wanted is None:
        raise Skipped("no provider of /mcp/models has `chat`")
    sent = ask(provider=wanted)
    answer = gateway.call("POST", "/mcp/chat", sent)
    problems = contract.chat(answer, sent["requestId"], contract.NAMED)
    if not problems and answer.body["providerInfo"]["name"] != wanted:
        return [f"providerInfo.name is {answer.body['providerInfo']['name']!r}, not {wanted!r}"]
    gateway.note = "" if problems else answered_by(answer)
    return problems


def answered_by(answer: Answer) -> str:
    info = answer.body["providerInfo"]
    return f"{info['name']}, {info['model']}, {info['routing']['strategy']}"


def chat_stream(gateway: Gateway) -> list[str]:
    answer, events = gateway.stream(ask())
    return stream_checks.stream(answer, events)


def embed(gateway: Gateway) -> list[str]:
    if gateway.providers is not None and not any("embed" in able for able in gateway.providers.values()):
        raise Skipped("no provider of /mcp/models has `embed`")
    sent = envelope(inputs=TEXTS)
    answer = gateway.call("POST", "/mcp/embed", sent)
    problems = contract.embed(answer, sent["requestId"], len(TEXTS))
    if not problems:
        gateway.note = f"{answered_by(answer)}, {len(answer.body['vectors'][0])} dimensions"
    return problems


def metrics(gateway: Gateway) -> list[str]:
    return contract.metrics(gateway.call("GET", "/metrics"))


def no_token(gateway: Gateway) -> list[str]:
    answer = gateway.once("POST", "/mcp/chat", ask(), X_LLM_Caller_Token="")
    expected = Expected(401, "UNAUTHORIZED", None, "Missing client token")
    return contract.error(answer, expected) + contract.header_has(answer, "WWW-Authenticate", "Bearer")


def unknown_token(gateway: Gateway) -> list[str]:
    answer = gateway.once("POST", "/mcp/chat", ask(), X_LLM_Caller_Token="uat-no-such-token")
    return contract.error(answer, Expected(403, "FORBIDDEN", None, "Unknown client token"))


def missing_request_id(gateway: Gateway) -> list[str]:
    body = ask()
    del body["requestId"]
    answer = gateway.call("POST", "/mcp/chat", body)
    expected = Expected(400, "BAD_REQUEST", "VALIDATION_FAILED")
    return contract.error(answer, expected) + contract.names_request_id(answer)


def unknown_provider(gateway: Gateway) -> list[str]:
    answer = gateway.call("POST", "/mcp/chat", ask(provider=NO_PROVIDER))
    return contract.error(answer, Expected(404, "NOT_FOUND", "UNKNOWN_PROVIDER"))


def unknown_model(gateway: Gateway) -> list[str]:
    answer = gateway.call("POST", "/mcp/chat", ask(model=NO_MODEL))
    return contract.error(answer, Expected(404, "NOT_FOUND", "UNKNOWN_MODEL"))


def unknown_path(gateway: Gateway) -> list[str]:
    return contract.error(gateway.call("GET", "/uat-no-such-path"), Expected(404, "NOT_FOUND"))


def other_method(gateway: Gateway) -> list[str]:
    answer = gateway.call("GET", "/mcp/chat")
    return contract.error(answer, Expected(405, "METHOD_NOT_ALLOWED")) + contract.header_has(
        answer, "Allow", "POST"
    )


def other_media_type(gateway: Gateway) -> list[str]:
    answer = gateway.once("POST", "/mcp/chat", ask(), Content_Type="text/plain")
    return contract.error(answer, Expected(415, "UNSUPPORTED_MEDIA_TYPE"))


def rate_limit(gateway: Gateway, most: int) -> list[str]:
    """At once, not one by one: a slow model would never let a client reach its limit."""
    answers = at_once(gateway, most)
    refused = [answer for answer in answers if answer.status == 429]
    if not refused:
        return [f"no 429 in {most} calls at once"]
    problems = contract.limited(refused[-1])
    wait = contract.hinted_wait(refused[-1])
    time.sleep(wait)
    after = gateway.once("POST", "/mcp/chat", ask())
    passed = sum(answer.status == 200 for answer in answers)
    gateway.note = f"{passed} served, then 429; served again after {wait:.2f} s"
    if after.status != 200:
        problems.append(f"{contract.said(after)}, after waiting {wait:.2f} s as told")
    return problems


def at_once(gateway: Gateway, calls: int) -> list[Answer]:
    """Answers in the order in which they come."""
    body = ask() | {"maxTokens": 1}
    with ThreadPoolExecutor(max_workers=calls) as pool:
        sent = [pool.submit(gateway.once, "POST", "/mcp/chat", body) for _ in range(calls)]
        return [call.result() for call in as_completed(sent)]


FIRST: dict[str, Check] = {"livez": livez, "readyz": readyz}
ROWS: dict[str, Check] = {
    "models": models,
    "models of one provider": models_of_one,
    "models: capability defaults": capability_defaults,
    "health": health,
    "health is ok": health_is_ok,
    "chat": chat,
    "chat, provider named": named_chat,
    "chatStream": chat_stream,
    "embed": embed,
    "metrics": metrics,
    "no token is a 401": no_token,
    "an unknown token is a 403": unknown_token,
    "a missing requestId is a 400": missing_request_id,
    "an unknown provider is a 404": unknown_provider,
    "an unknown model is a 404": unknown_model,
    "an unknown path is a 404": unknown_path,
    "another method is a 405": other_method,
    "another media type is a 415": other_media_type,
}
