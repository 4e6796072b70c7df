"""The forms of a provider's models and of the aliases for them: what they keep, an import of the file would take."""

from typing import Any

from django import forms

from providers.capability_grid import STAND_IN
from providers.import_rules import refuse
from providers.models import ModelAlias, ProviderModel

ORDER = "0 is first; the same number keeps the order in which they were added."


class ProviderModelForm(forms.ModelForm):
    class Meta:
        model = ProviderModel
        fields = ("provider", "model_id", "configured", "position")
        help_texts = {
            "model_id": "Write it as the provider calls it, for example qwen2.5-7b-instruct.",
            "configured": "Tick it for a model that calls may name even while discovery does not find it. It is "
            "then written to the file; what is not ticked is only a finding.",
            "position": f"Its place among the provider's models in the file and in lists, not in routing. {ORDER}",
        }

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        twins = ProviderModel.objects.filter(provider=data.get("provider"), model_id=data.get("model_id"))
        if twins.exclude(pk=self.instance.pk).exists():
            self.add_error("model_id", "This provider has a model of that name already.")
        return data

    def _post_clean(self) -> None:
        super()._post_clean()
        entry = STAND_IN | {"capabilities": ["chat"], "models": [self.instance.model_id]}
        refuse(self, {"providers": {"x": entry}}, {"/providers/x/models": "model_id"})


class ModelAliasForm(forms.ModelForm):
    class Meta:
        model = ModelAlias
        fields = ("name", "provider", "model_id", "position")
        help_texts = {
            "name": "What callers write as the model, for example fast. It wins over a model of the same name.",
            "provider": "Who answers: calls for the alias go to this provider and no other.",
            "model_id": "The model that it stands for. Write it as the provider calls it.",
            "position": f"Its place among the aliases in the file, not in routing. {ORDER}",
        }

    def _post_clean(self) -> None:
        super()._post_clean()
        if self.instance.provider_id is not None:
            document: dict[str, Any] = {
                "providers": {},
                "aliases": {self.instance.name: self.instance.target},
            }
            refuse(self, document, {"/aliases": "name"})
