"""The servers a lake stands on, one module each, and what keeps them running.

:mod:`infra.machines.services.lake` starts, stops and describes them together; nothing else needs to be imported from
outside.
"""
