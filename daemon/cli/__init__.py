"""The command line: parsing, output, exit codes.

The commands are in `operate`, `facts` and `models`.

A command opens the application, calls one function of another room and prints the result. Logic
that the console or the daemon could also need does not belong here, and no other room imports this
one.
"""
