"""What the contract says of `/mcp/models` and `/health`."""

from collections.abc import Mapping
from typing import Any

from contract_checks import Answer, call_id, served
from shapes import (
    SEVERITY,
    Rule,
    capabilities,
    fields,
    flag,
    given,
    health_status,
    items,
    models_by_capability,
    moment,
    name,
    scores_by_capability,
    text,
)

OWN_COMPONENTS = ("transport", "orchestrator", "audit", "database")


def models(answer: Answer, wanted: str | None = None) -> list[str]:
    """`wanted`: the provider that was asked for, if one was."""
    if problems := served(answer):
        return problems
    body = answer.body
    problems = fields("", body, {"provider": name, "models": items, "providers": items}) + call_id(answer)
    if problems:
        return problems
    for place, entry in enumerate(body["providers"]):
        problems += provider(f"providers[{place}]", entry)
    if problems:
        return problems
    listed = {entry["name"]: entry["models"] for entry in body["providers"]}
    if body["provider"] not in (wanted or body["provider"],):
        problems.append(f"provider is {body['provider']!r}, not {wanted!r}")
    if body["models"] != listed.get(body["provider"]):
        problems.append(f"models are not those of {body['provider']}")
    return problems


def provider(where: str, value: Any) -> list[str]:
    required: dict[str, Rule] = {"name": name, "status": health_status, "models": items}
    required |= {
        "capabilities": capabilities,
        "defaults": models_by_capability,
        "scores": scores_by_capability,
    }
    problems = fields(where, value, required)
    for place, entry in enumerate([] if problems else value["models"]):
        optional: dict[str, Rule] = {
            "description": text,
            "defaults": capabilities,
            "scores": scores_by_capability,
        }
        problems += fields(f"{where}.models[{place}]", entry, {"id": name, "ready": flag}, optional)
    return problems


def defaults(listing: dict[str, Any]) -> list[str]:
    """Each provider's capability defaults stand at the models that they name, and nowhere else."""
    problems = []
    for entry in listing["providers"]:
        told = {(cap, model["id"]) for model in entry["models"] for cap in model.get("defaults", ())}
        wanted = set(entry["defaults"].items())
        problems += [f"{entry['name']}: {m} is not listed as default of {cap}" for cap, m in wanted - told]
        problems += [f"{entry['name']}: {m} is listed as default of {cap}" for cap, m in told - wanted]
    return sorted(problems)


def health(answer: Answer, providers: Mapping[str, list[str]]) -> list[str]:
    """`providers`: the capabilities of those that this client may use, by name."""
    if problems := served(answer):
        return problems
    body = answer.body
    required: dict[str, Rule] = {"status": health_status, "timestamp": moment, "components": items}
    problems = fields("", body, required) + call_id(answer)
    for place, part in enumerate([] if problems else body["components"]):
        problems += component(f"components[{place}]", part)
    if problems:
        return problems
    parts = {part["name"]: part for part in body["components"]}
    wanted = (*OWN_COMPONENTS, *(f"provider:{entry}" for entry in providers))
    problems = [f"component {part} is missing" for part in wanted if part not in parts]
    if body["status"] != max((part["status"] for part in parts.values()), key=SEVERITY.index, default="ok"):
        problems.append("status is not that of the worst component")
    return problems + coverage(parts, providers)


def component(where: str, value: Any) -> list[str]:
    required: dict[str, Rule] = {"name": name, "status": health_status, "timestamp": moment}
    optional: dict[str, Rule] = {"details": given, "capabilityCoverage": items}
    problems = fields(where, value, required, optional)
    for place, entry in enumerate([] if problems else value.get("capabilityCoverage", [])):
        at = f"{where}.capabilityCoverage[{place}]"
        problems += fields(at, entry, {"capability": name, "status": health_status})
    return problems


def coverage(parts: dict[str, Any], providers: Mapping[str, list[str]]) -> list[str]:
    """Every provider's component covers each capability that the provider has."""
    problems = []
    for part, told in parts.items():
        if not part.startswith("provider:"):
            continue
        covered = [entry["capability"] for entry in told.get("capabilityCoverage", [])]
        wanted = providers.get(part.removeprefix("provider:"))
        if not covered or (wanted is not None and sorted(covered) != sorted(wanted)):
            problems.append(f"{part} has capabilityCoverage {covered}, not {wanted or 'its capabilities'}")
    return problems


def unwell(body: dict[str, Any]) -> list[str]:
    return [
        f"{part['name']} is {part['status']}: {part.get('details', 'no details')}"
        for part in body["components"]
        if part["status"] != "ok"
    ]
