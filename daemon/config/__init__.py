"""The tables of the configuration file, their defaults, secrets, schedules and time windows.

`daemon/configuration.py` reads the file and the environment once and puts the tables together. The
table of the gates lies with them, in `gates`. Nothing here opens a database or a model.
"""
