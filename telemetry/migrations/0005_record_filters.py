import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('telemetry', '0004_chain'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='SavedFilter',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=60)),
                ('query', models.CharField(max_length=2000)),
                ('shared', models.BooleanField(default=False)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
            ],
            options={
                'ordering': ('name', 'pk'),
            },
        ),
        migrations.RemoveIndex(
            model_name='requestlog',
            name='record_by_client',
        ),
        migrations.RemoveIndex(
            model_name='requestlog',
            name='record_by_outcome',
        ),
        migrations.RemoveIndex(
            model_name='requestlog',
            name='record_by_provider',
        ),
        migrations.RemoveIndex(
            model_name='requestlog',
            name='record_by_request_id',
        ),
        migrations.AddIndex(
            model_name='requestlog',
            index=models.Index(fields=['tool_id', 'started_at'], name='record_tool_id_at'),
        ),
        migrations.AddIndex(
            model_name='requestlog',
            index=models.Index(fields=['token_id', 'started_at'], name='record_token_id_at'),
        ),
        migrations.AddIndex(
            model_name='requestlog',
            index=models.Index(fields=['provider', 'started_at'], name='record_provider_at'),
        ),
        migrations.AddIndex(
            model_name='requestlog',
            index=models.Index(fields=['model', 'started_at'], name='record_model_at'),
        ),
        migrations.AddIndex(
            model_name='requestlog',
            index=models.Index(fields=['method', 'started_at'], name='record_method_at'),
        ),
        migrations.AddIndex(
            model_name='requestlog',
            index=models.Index(fields=['outcome', 'started_at'], name='record_outcome_at'),
        ),
        migrations.AddIndex(
            model_name='requestlog',
            index=models.Index(fields=['request_id', 'started_at'], name='record_request_id_at'),
        ),
        migrations.AddIndex(
            model_name='requestlog',
            index=models.Index(fields=['trace_id', 'started_at'], name='record_trace_id_at'),
        ),
        migrations.AddIndex(
            model_name='requestlog',
            index=models.Index(fields=['peer', 'started_at'], name='record_peer_at'),
        ),
        migrations.AddIndex(
            model_name='requestlog',
            index=models.Index(fields=['config_version', 'started_at'], name='record_config_version_at'),
        ),
        migrations.AddField(
            model_name='savedfilter',
            name='owner',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddConstraint(
            model_name='savedfilter',
            constraint=models.UniqueConstraint(fields=('owner', 'name'), name='filter_once_per_owner_and_name'),
        ),
    ]
