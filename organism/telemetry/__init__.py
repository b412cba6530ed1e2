"""What the outside gets to see: metrics, traces, dashboards and logs, one foreign system per module.

Exporters listen to events and activity and read statistics; nothing in the core knows that they exist.
"""
