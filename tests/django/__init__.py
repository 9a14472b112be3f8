"""Tests of django_app, inside the example project."""
