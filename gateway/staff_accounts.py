"""Django's forms of users and groups, minus the ways for a superuser to lock himself, or everybody, out."""

from collections.abc import Iterable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.forms import AdminPasswordChangeForm, UserChangeForm
from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponseRedirect
from django.urls import reverse

from gateway.roles import ROLES

NEEDED = {"is_active": "Active", "is_staff": "Staff status", "is_superuser": "Superuser status"}
"""What makes a user able to manage users, with the labels of the form."""


def lock_out(users: Iterable[User], acting: User) -> str:
    """Why these users may not lose their rights or go; "" when they may."""
    gone = {user.pk for user in users}
    if acting.pk in gone:
        return "This is your own account. Another superuser has to do that, so that nobody locks himself out."
    everyone = User.objects.filter(is_active=True, is_staff=True, is_superuser=True)
    losing = everyone.filter(pk__in=gone).exists()
    if losing and not everyone.exclude(pk__in=gone).exists():
        return "This is the last active superuser. Make another one first, or nobody could manage users."
    return ""


class GuardedChangeForm(UserChangeForm):
    acting: User

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        # The form's own instance has the new values already; the stored one tells what is taken away.
        stored = User.objects.get(pk=self.instance.pk)
        taken = [field for field in NEEDED if getattr(stored, field) and cleaned.get(field) is False]
        if taken and (problem := lock_out([stored], self.acting)):
            raise ValidationError(dict.fromkeys(taken, problem))
        return cleaned


class GuardedPasswordForm(AdminPasswordChangeForm):
    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if self.user.is_superuser and cleaned.get("set_usable_password") is False:
            problem = "A superuser needs a password: there is no other way to log in here."
            raise ValidationError({"usable_password": problem})
        return cleaned


admin.site.unregister(User)


@admin.register(User)
class GuardedUserAdmin(UserAdmin):
    form = GuardedChangeForm
    change_password_form = GuardedPasswordForm
    list_display = ("username", "is_active", "is_staff", "is_superuser", "roles", "last_login")

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).prefetch_related("groups")

    @admin.display(description="Roles")
    def roles(self, user: User) -> str:
        return ", ".join(group.name for group in user.groups.all()) or "none"

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        return type(form.__name__, (form,), {"acting": request.user})

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> Any:
        user = self.get_object(request, unquote(object_id))
        if user and self.has_delete_permission(request, user) and (problem := lock_out([user], request.user)):
            self.message_user(request, problem, messages.ERROR)
            return HttpResponseRedirect(reverse("admin:auth_user_changelist"))
        return super().delete_view(request, object_id, extra_context)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """The action for deleting several asks here; what is protected is not deleted."""
        listed, counts, lacking, protected = super().get_deleted_objects(objs, request)
        if problem := lock_out(objs, request.user):  # type: ignore[arg-type]
            self.message_user(request, problem, messages.ERROR)
            protected = [*protected, problem]
        return listed, counts, lacking, protected


OWN_GROUP = (
    "“{}” is one of the product's own roles: upgrades give it its new permissions by that name, so it is neither "
    "deleted nor renamed. To withdraw the role, take its members or its permissions away."
)


def own_groups(groups: Iterable[Group]) -> str:
    """Why these groups may not go; "" when they may."""
    return " ".join(OWN_GROUP.format(group.name) for group in groups if group.name in ROLES)


class GuardedGroupForm(ModelForm):
    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        before = self.initial.get("name")
        if name != before and before in ROLES:
            raise ValidationError(OWN_GROUP.format(before))
        return name


admin.site.unregister(Group)


@admin.register(Group)
class GuardedGroupAdmin(GroupAdmin):
    form = GuardedGroupForm

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """The page for deleting one asks here, as does the action for several."""
        listed, counts, lacking, protected = super().get_deleted_objects(objs, request)
        problem = own_groups(objs)
        return listed, counts, lacking, [*protected, problem] if problem else protected
