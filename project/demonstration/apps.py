from django.apps import AppConfig


class DemonstrationConfig(AppConfig):
    name = "project.demonstration"
    verbose_name = "Demonstration"
