from django.db import migrations

from gateway.roles import give


def make_groups(apps, schema_editor):
    """On a database that was there before: with the permissions it has. What is made later, `roles.py` gives."""
    permission, group = apps.get_model("auth", "Permission"), apps.get_model("auth", "Group")
    using = schema_editor.connection.alias
    known = permission.objects.using(using).select_related("content_type")
    give(group.objects.using(using), known, known)


class Migration(migrations.Migration):

    dependencies = [
        ("gateway", "0002_changes"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    # The groups stay when the migration is taken back: people are in them.
    operations = [migrations.RunPython(make_groups, migrations.RunPython.noop)]
