"""The sandbox: HubSpot, a click API and the ad platforms, played over HTTP from a portal log.

A program of its own (`python -m crm_attribution.sandbox --portal FILE --clock ISO`), written from the vendors'
descriptions of their APIs. It imports nothing of the pipeline and the pipeline imports nothing of it, so that the two
cannot share a misunderstanding.

    portal/     the state of a HubSpot account, built from log lines; no HTTP
    hubspot/    HubSpot's routes over that state
    platforms/  one ad platform per file
    clicks.py   the link-click API
    control.py  /_sandbox: clock, faults, calls, received events
    generator/  writes portal logs (`python -m crm_attribution.sandbox.generate`)
"""
