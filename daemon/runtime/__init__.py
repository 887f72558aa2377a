"""The daemon process and its workers: schedule, jobs, supervision, systemd.

What a task does belongs to `tasks`.
"""
