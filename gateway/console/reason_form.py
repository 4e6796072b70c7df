"""The reason that has to be given before something is done with kept content."""

from django import forms

SAYS_SOMETHING = 10
"""Letters or digits: dots, and characters that nobody sees, are no reason."""


class ReasonForm(forms.Form):
    reason = forms.CharField(
        max_length=500,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        help_text=f"At least {SAYS_SOMETHING} letters or digits. It is recorded with your name, for good.",
    )

    def clean_reason(self) -> str:
        reason: str = self.cleaned_data["reason"]
        if sum(map(str.isalnum, reason)) < SAYS_SOMETHING:
            raise forms.ValidationError(f"Give a reason of at least {SAYS_SOMETHING} letters or digits.")
        return reason
