"""An alias that leads nowhere or hides something, and a client's model that nobody has, are said when they are saved."""

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client as Browser
from django.utils import timezone

from providers.models import ModelAlias, Provider

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True, scope="module")
def _static_files() -> None:
    call_command("collectstatic", interactive=False, verbosity=0)


@pytest.fixture
def ada() -> Browser:
    browser = Browser()
    browser.force_login(User.objects.create_superuser("ada"))
    return browser


@pytest.fixture
def gpu() -> Provider:
    """It lists `qwen` and was told `own`; another, `cpu`, has only its default model `phi`."""
    provider("cpu", "phi")
    row = provider("gpu", "qwen")
    row.model_rows.create(model_id="qwen", configured=False, discovered_at=timezone.now())
    row.model_rows.create(model_id="own", configured=True)
    return row


def provider(name: str, model: str) -> Provider:
    row = Provider.objects.create(
        name=name, kind="lmstudio", base_url="http://127.0.0.1:9/v1", default_model=model
    )
    row.capability_rows.create(capability="chat")
    return row


def said_of_alias(browser: Browser, name: str, provider: Provider, model: str) -> list[str]:
    sent = {"name": name, "provider": provider.pk, "model_id": model, "position": 0}
    answer = browser.post("/admin/providers/modelalias/add/", sent, follow=True)
    assert ModelAlias.objects.filter(name=name).exists(), "a warning keeps nobody from it"
    return [str(m) for m in answer.context["messages"] if m.level_tag == "warning"]


@pytest.mark.parametrize(
    ("name", "model"), [("fast", "qwen"), ("fast", "own"), ("qwen", "qwen"), ("a/b", "qwen")]
)
def test_an_alias_for_what_is_there_is_saved_without_a_word(
    ada: Browser, gpu: Provider, name: str, model: str
) -> None:
    assert said_of_alias(ada, name, gpu, model) == []


def test_nothing_is_said_of_a_provider_that_was_never_asked(ada: Browser, gpu: Provider) -> None:
    assert said_of_alias(ada, "fast", Provider.objects.get(name="cpu"), "qwen") == []


def test_an_alias_for_a_disabled_provider_is_said(ada: Browser, gpu: Provider) -> None:
    gpu.enabled = False
    gpu.save()
    assert said_of_alias(ada, "fast", gpu, "qwen") == [
        "“gpu” is disabled: calls for “fast” fail until it is enabled."
    ]


def test_an_alias_for_a_model_that_its_provider_does_not_list_is_said(ada: Browser, gpu: Provider) -> None:
    (said,) = said_of_alias(ada, "fast", gpu, "qwne")
    assert said.startswith("When “gpu” was asked for its models, it did not list “qwne”")


@pytest.mark.parametrize("name", ["phi", "qwen", "own"])
def test_an_alias_that_hides_a_model_is_said_with_who_has_it(ada: Browser, gpu: Provider, name: str) -> None:
    target, model = (gpu, "qwen") if name == "phi" else (Provider.objects.get(name="cpu"), "phi")
    (said,) = said_of_alias(ada, name, target, model)
    owner = "cpu" if name == "phi" else "gpu"
    assert said.startswith(f"“{name}” is also a model of {owner}. The alias wins")
    assert said.endswith(f"gets {target.name}/{model}.")


def test_an_alias_that_reads_like_another_provider_s_model_is_said(ada: Browser, gpu: Provider) -> None:
    (said,) = said_of_alias(ada, "cpu/phi", gpu, "qwen")
    assert said.startswith("“cpu/phi” reads like the model phi of the provider cpu. The alias wins")


def test_a_client_s_model_that_nobody_has_is_said(ada: Browser, gpu: Provider) -> None:
    gpu.aliases.create(name="fast", model_id="qwen")
    models = "qwen\nown\nphi\nqwne\nfast\nphy"
    sent = {"tool_id": "bob", "enabled": "on", "methods": ["chat"], "allowed_models": models}
    answer = ada.post("/admin/clients/client/add/", sent, follow=True)
    said = [str(m) for m in answer.context["messages"] if m.level_tag == "warning"]
    assert len(said) == 2
    assert said[0] == "“fast” is an alias. What counts is the model that it stands for: write qwen."
    assert said[1].startswith("No provider lists “qwne”, “phy”: calls for it are refused")


def test_models_that_are_there_are_allowed_without_a_word(ada: Browser, gpu: Provider) -> None:
    sent = {"tool_id": "bob", "enabled": "on", "methods": ["chat"], "allowed_models": "qwen\nphi"}
    answer = ada.post("/admin/clients/client/add/", sent, follow=True)
    assert [m for m in answer.context["messages"] if m.level_tag == "warning"] == []
