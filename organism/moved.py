"""Names that are imported when they are first used, and where modules have gone since 0.1.

Old module names work for one more release, with a ``DeprecationWarning``.
``from organism.pump.bounds import Bounds`` gives the very class that ``organism.runtime.bounds`` has: the old name is
put beside the new one in ``sys.modules``, and nothing is loaded twice.
"""

import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, cast

MOVED = {
    "organism.agents.function_tool": "organism.agents.tools.function_tool",
    "organism.agents.llm": "organism.agents.llm_agent",
    "organism.agents.model_calls": "organism.agents.llm_client",
    "organism.agents.notes": "organism.agents.budget_notes",
    "organism.agents.peer_tool": "organism.agents.tools.peer_tool",
    "organism.agents.roster": "organism.agents.agent_registry",
    "organism.agents.serving": "organism.agents.tool_server_tasks",
    "organism.agents.tool_loop": "organism.agents.tools.tool_loop",
    "organism.agents.tool_names": "organism.agents.tools.tool_names",
    "organism.api.gate": "organism.api.auth_middleware",
    "organism.api.groups": "organism.api.mounts",
    "organism.api.injected": "organism.api.dependencies",
    "organism.api.routes.whole": "organism.api.routes.system",
    "organism.api.structure": "organism.api.json_limits",
    "organism.budget.line": "organism.budget.reserve_queue",
    "organism.budget.teller": "organism.budget.engine",
    "organism.bus": "organism.threads",
    "organism.bus.approvals": "organism.threads.approvals",
    "organism.bus.dead_letters": "organism.threads.dead_letters",
    "organism.bus.lanes": "organism.threads.lanes",
    "organism.bus.mailbox": "organism.threads.mailbox",
    "organism.bus.quarantine": "organism.threads.quarantine",
    "organism.bus.records": "organism.threads.records",
    "organism.bus.routing": "organism.threads.routing",
    "organism.bus.signal": "organism.concurrency.wakeups",
    "organism.bus.threads": "organism.threads.thread",
    "organism.config.bind": "organism.config.yaml.bind",
    "organism.config.build_agents": "organism.config.build.agents",
    "organism.config.build_exporters": "organism.config.build.exporters",
    "organism.config.build_providers": "organism.config.build.providers",
    "organism.config.build_router": "organism.config.build.router",
    "organism.config.build_tools": "organism.config.build.tools",
    "organism.config.kept": "organism.config.reuse",
    "organism.config.nodes": "organism.config.yaml.nodes",
    "organism.config.prices": "organism.config.price_section",
    "organism.config.reach": "organism.config.provider_connections",
    "organism.config.schema_agents": "organism.config.schema.agents",
    "organism.config.schema_exporters": "organism.config.schema.exporters",
    "organism.config.schema_gateway": "organism.config.schema.gateway",
    "organism.config.schema_limits": "organism.config.schema.limits",
    "organism.config.schema_llm": "organism.config.schema.llm",
    "organism.config.schema_values": "organism.config.schema.values",
    "organism.control.kept_answers": "organism.control.stored_answers",
    "organism.control.looking": "organism.control.queries",
    "organism.control.parts": "organism.control.components",
    "organism.control.past": "organism.control.observed.restored_history",
    "organism.control.pauses": "organism.control.agent_pauses",
    "organism.control.pausing": "organism.control.agent_pauses",
    "organism.control.recent": "organism.control.observed.history",
    "organism.control.rooms": "organism.control.components",
    "organism.control.swapping": "organism.control.reload",
    "organism.credentials": "organism.text.credentials",
    "organism.error_text": "organism.text.error_text",
    "organism.exporters": "organism.telemetry",
    "organism.exporters.conventions": "organism.telemetry.conventions",
    "organism.exporters.dashboards": "organism.telemetry.dashboards",
    "organism.exporters.delivery": "organism.billing.delivery",
    "organism.exporters.instruments": "organism.telemetry.metrics.instruments",
    "organism.exporters.jsonl": "organism.billing.jsonl",
    "organism.exporters.logs": "organism.telemetry.logs",
    "organism.exporters.measure": "organism.telemetry.metrics.metric_mapping",
    "organism.exporters.meters": "organism.billing.billing_formats",
    "organism.exporters.otel": "organism.telemetry.otel",
    "organism.exporters.otel_metrics": "organism.telemetry.metrics.otel_metrics",
    "organism.exporters.otel_traces": "organism.telemetry.traces.otel_traces",
    "organism.exporters.prometheus": "organism.telemetry.metrics.prometheus",
    "organism.exporters.readings": "organism.telemetry.metrics.gauges",
    "organism.exporters.report_html": "organism.billing.reports.html_report",
    "organism.exporters.report_markdown": "organism.billing.reports.markdown_report",
    "organism.exporters.report_tables": "organism.billing.reports.report_tables",
    "organism.exporters.series": "organism.telemetry.metrics.cardinality",
    "organism.exporters.signatures": "organism.billing.signatures",
    "organism.exporters.span_attributes": "organism.telemetry.traces.span_attributes",
    "organism.exporters.verdicts": "organism.billing.verdicts",
    "organism.exporters.webhook": "organism.billing.webhook",
    "organism.exporters.zeros": "organism.telemetry.metrics.initial_values",
    "organism.foreign": "organism.concurrency.foreign_code",
    "organism.formats.answer_collector": "organism.formats.answers.collector",
    "organism.formats.answer_decoder": "organism.formats.answers.decoder",
    "organism.formats.attachments": "organism.formats.media.attachments",
    "organism.formats.data_urls": "organism.formats.media.data_urls",
    "organism.formats.error_words": "organism.formats.errors.error_words",
    "organism.formats.event_stream": "organism.formats.answers.event_stream",
    "organism.formats.faults": "organism.formats.errors.faults",
    "organism.formats.image_size": "organism.formats.media.image_size",
    "organism.formats.one_answer": "organism.formats.answers.single_answer",
    "organism.formats.openai_errors": "organism.formats.errors.openai_errors",
    "organism.formats.openai_responses.native_tools": "organism.formats.native_tools",
    "organism.formats.reasons": "organism.formats.answers.finish_reasons",
    "organism.formats.refusal_table": "organism.formats.errors.refusal_table",
    "organism.formats.refusals": "organism.formats.errors.refusals",
    "organism.formats.retry_after": "organism.formats.errors.retry_after",
    "organism.gateway.calls": "organism.gateway.model_calls",
    "organism.gateway.charging": "organism.gateway.payer",
    "organism.gateway.conversations": "organism.gateway.stored_conversations",
    "organism.gateway.exchange": "organism.gateway.request_handler",
    "organism.gateway.faults": "organism.gateway.errors",
    "organism.gateway.kept_routes": "organism.gateway.stored_answer_routes",
    "organism.ledger.account": "organism.amounts.account",
    "organism.own_threads": "organism.concurrency.own_threads",
    "organism.plain_text": "organism.text.plain_text",
    "organism.private_files": "organism.stores.private_files",
    "organism.pump": "organism.runtime",
    "organism.pump.allowances": "organism.control.orders.budget_changes",
    "organism.pump.approvals": "organism.control.orders.approvals",
    "organism.pump.bounds": "organism.runtime.bounds",
    "organism.pump.budget_warnings": "organism.runtime.budget_warnings",
    "organism.pump.children": "organism.runtime.children",
    "organism.pump.contained_tasks": "organism.runtime.handlers.contained_tasks",
    "organism.pump.deadlines": "organism.runtime.waiting.timers",
    "organism.pump.delivery": "organism.runtime.delivery",
    "organism.pump.ended": "organism.threads.ended_threads",
    "organism.pump.endings": "organism.runtime.handlers.handler_outcome",
    "organism.pump.envelopes": "organism.threads.envelopes",
    "organism.pump.guard": "organism.runtime.workers.guard",
    "organism.pump.handler_runtime": "organism.runtime.handlers.handler_runtime",
    "organism.pump.in_force": "organism.runtime.active_config",
    "organism.pump.keeper": "organism.threads.state_writer",
    "organism.pump.leash": "organism.runtime.workers.cancel_scope",
    "organism.pump.letters": "organism.control.orders.dead_letters",
    "organism.pump.lifecycle": "organism.runtime.lifecycle",
    "organism.pump.observed": "organism.runtime.handlers.instrumentation",
    "organism.pump.outgoing": "organism.runtime.handlers.output_routing",
    "organism.pump.pauses": "organism.control.orders.pausing",
    "organism.pump.pump": "organism.runtime.pump",
    "organism.pump.replacing": "organism.control.orders.agent_reload",
    "organism.pump.restart": "organism.runtime.handlers.restart",
    "organism.pump.restoring": "organism.runtime.recovery",
    "organism.pump.run": "organism.runtime.handlers.handler_run",
    "organism.pump.standing": "organism.control.orders.external_threads",
    "organism.pump.standstill": "organism.runtime.waiting.paused_time",
    "organism.pump.statistics": "organism.runtime.pump",
    "organism.pump.supervisor": "organism.runtime.supervisor",
    "organism.pump.thread_events": "organism.runtime.lifecycle",
    "organism.pump.upkeep": "organism.runtime.maintenance",
    "organism.pump.waiting": "organism.runtime.waiting.parked_messages",
    "organism.pump.worker_pool": "organism.runtime.workers.worker_pool",
    "organism.pump.worker_thread": "organism.runtime.workers.worker_thread",
    "organism.pump.workers": "organism.runtime.scheduler",
    "organism.redaction": "organism.text.redaction",
    "organism.router.announcer": "organism.router.call_events",
    "organism.router.backoff": "organism.router.limits.backoff",
    "organism.router.checked_answers": "organism.router.answers.answer_checks",
    "organism.router.checked_requests": "organism.router.planning.request_checks",
    "organism.router.circuit": "organism.router.limits.circuit",
    "organism.router.concurrency": "organism.router.limits.concurrency",
    "organism.router.course": "organism.router.call_state",
    "organism.router.cut_short": "organism.router.answers.partial_usage",
    "organism.router.embedding": "organism.llm.embeddings",
    "organism.router.estimator": "organism.router.planning.estimator",
    "organism.router.gate": "organism.router.limits.limiter",
    "organism.router.gates": "organism.router.planning.provider_limiters",
    "organism.router.observed": "organism.router.call_observer",
    "organism.router.orphans": "organism.router.orphaned_holds",
    "organism.router.partial_usage": "organism.router.answers.partial_usage",
    "organism.router.plan": "organism.router.planning.plan",
    "organism.router.planner": "organism.router.planning.planner",
    "organism.router.prices": "organism.router.planning.call_rates",
    "organism.router.provider_settings": "organism.router.limits.provider_settings",
    "organism.router.rate_limit": "organism.router.limits.rate_limit",
    "organism.router.setup": "organism.router.router_config",
    "organism.router.strategy": "organism.router.planning.route_queue",
    "organism.router.window": "organism.router.limits.window",
    "organism.usage.bill": "organism.billing.bill",
    "organism.usage.bill_values": "organism.billing.bill_values",
    "organism.usage.drift": "organism.billing.reconciliation",
    "organism.usage.forecast": "organism.billing.forecast",
    "organism.usage.period": "organism.billing.period",
    "organism.whatif.calls": "organism.whatif.replayed_calls",
    "organism.whatif.stage": "organism.whatif.simulation",
}
"""The module that each old name stands for now."""


def lazy(package: str, homes: Mapping[str, str]) -> Callable[[str], object]:
    """Return the ``__getattr__`` of a package that imports each public name when it is first used.

    Args:
        package: The package.
        homes: The module that defines each name.
    """

    def find(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value: object = getattr(import_module(homes[name]), name)
        vars(sys.modules[package])[name] = value
        return value

    return find


class _Moved:
    """Gives the module of another name: a loader, without the base class, whose import takes ten milliseconds."""

    def __init__(self, new: str) -> None:
        self._new = new
        self._spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Import the module by its new name."""
        warnings.warn(f"{spec.name} is now {self._new}", DeprecationWarning, stacklevel=2)
        module = import_module(self._new)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Leave it as it is: it has run; only its own spec is put back, which the import has replaced."""
        module.__spec__ = self._spec


class MovedFinder:
    """Finds modules by the names they had; first of all finders, or a moved package would be searched by path."""

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module that has moved."""
        new = MOVED.get(fullname)
        return None if new is None else ModuleSpec(fullname, cast("Any", _Moved(new)), is_package=True)


def install() -> None:
    """Have old names found from now on."""
    if not any(isinstance(finder, MovedFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, cast("Any", MovedFinder()))
