"""Versions: runs the demo and the tests on every combination of Python, Django and Celery that README names.

combination   lists the combinations               environment   makes a virtual environment for one, outside .venv
python        finds interpreters on this machine   check         runs the demo or tests in an environment
"""
