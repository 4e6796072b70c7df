"""The form of what `client-registry.json` carries beside the clients."""

from django import forms

from clients.import_rules import refuse
from clients.models import RegistryHeader
from clients.texts import unless_untouched


class RegistryHeaderForm(forms.ModelForm):
    class Meta:
        model = RegistryHeader
        fields = ("description", "schema")
        widgets = {
            "description": forms.Textarea(attrs={"rows": 3, "class": "vLargeTextField"}),
            "schema": forms.TextInput(attrs={"class": "vTextField"}),
        }
        help_texts = {
            "description": "Say what the file is for. It is written at the top of the file and read by nobody else.",
            "schema": "The address of a JSON schema for editors, written as $schema. Empty: none.",
        }

    def clean_description(self) -> str | None:
        return unless_untouched(self.cleaned_data["description"], self.instance.description)

    def clean_schema(self) -> str | None:
        return unless_untouched(self.cleaned_data["schema"], self.instance.schema)

    def _post_clean(self) -> None:
        super()._post_clean()
        header = {"$schema": self.instance.schema, "description": self.instance.description}
        given = {name: value for name, value in header.items() if value is not None}
        places = {"/$schema": "schema", "/description": "description"}
        refuse(self, {"clients": []} | given, places)
