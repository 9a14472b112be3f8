"""Versions: the demo and the tests on every combination of Python, Django and Celery that README names.

combination   which ones there are          environment   a virtual environment of one, outside of .venv
python        where this machine has one    check         what is run in it
"""
